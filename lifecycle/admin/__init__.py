"""The operators' side: Django's admin. What the lifecycle owns is read-only here; every change calls a service."""
