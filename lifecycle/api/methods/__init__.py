"""The methods, a file for each kind of resource; importing a file declares its methods."""

from importlib import import_module

_FILES = ("instances", "settings", "operations", "catalog", "disks", "snapshots", "networks", "projects")


def load() -> None:
    """Declare all of them."""
    for name in _FILES:
        import_module(f"lifecycle.api.methods.{name}")
