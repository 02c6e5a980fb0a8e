"""Rows as resources on the wire."""
