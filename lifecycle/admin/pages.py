"""Every page of the admin, registered by being imported.

Apart from the package itself: the site's class lives in the package, and must be importable before anything registers.
"""

from lifecycle.admin import (
    alerts,
    billing,
    catalog,
    consoles,
    findings,
    hosts,
    networks,
    operations,
    people,
    periodic,
    projects,
    repairs,
    vms,
)

__all__ = [
    "alerts",
    "billing",
    "catalog",
    "consoles",
    "findings",
    "hosts",
    "networks",
    "operations",
    "people",
    "periodic",
    "projects",
    "repairs",
    "vms",
]
