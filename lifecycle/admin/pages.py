"""Every page of the admin, registered by being imported.

Apart from the package itself: the site's class lives in the package, and must be importable before anything registers.
"""

from lifecycle.admin import (
    alerts,
    audit,
    billing,
    budgets,
    catalog,
    consoles,
    findings,
    hosts,
    image_imports,
    keys,
    maintenance,
    networks,
    operations,
    people,
    periodic,
    personal,
    projects,
    repairs,
    revenue,
    schedules,
    vms,
    webhooks,
)

__all__ = [
    "alerts",
    "audit",
    "billing",
    "budgets",
    "catalog",
    "consoles",
    "findings",
    "hosts",
    "image_imports",
    "keys",
    "maintenance",
    "networks",
    "operations",
    "people",
    "periodic",
    "personal",
    "projects",
    "repairs",
    "revenue",
    "schedules",
    "vms",
    "webhooks",
]
