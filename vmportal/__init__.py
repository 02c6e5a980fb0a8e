"""The Django project around `lifecycle`: settings, entry points and the launcher behind `./portal`."""

__version__ = "0.1.0"
