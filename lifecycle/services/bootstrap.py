"""The first rows of an installation; run again, it adds what is missing and changes nothing."""

import secrets
from dataclasses import dataclass

from django.contrib.auth.models import Group, Permission

from lifecycle.models import GroupGrant, MachineType, Membership, Project, User, Zone
from lifecycle.services import periodic, prices
from lifecycle.services.db import service
from lifecycle.services.projects import create_project

ZONE = "zone-a"
BILLING_GROUP = "billing"
#: What that group was given by versions that did not write down what they gave.
_AT_FIRST = (
    *("Invoice", "InvoiceLine", "Payment", "Credit", "PriceList", "Price", "BillingAccount", "CommittedUse"),
    *("PromotionCode", "TaxRate", "Seller"),
)
#: What it may see and set. A model that comes later is one more here, and groups that are there get it once.
BILLING_MODELS = (*_AT_FIRST, "Budget", "RevenueDay")
ADMIN = "admin"
PROJECT = "default"

#: name, family, vCPUs, memory in MiB, limit in % of a core
MACHINE_TYPES = (
    ("tiny-1", "tiny", 1, 128, None),
    ("micro-1", "micro", 1, 256, 25),
    ("small-1", "standard", 1, 1024, None),
    ("standard-1", "standard", 1, 2048, None),
    ("standard-2", "standard", 2, 4096, None),
    ("standard-4", "standard", 4, 8192, None),
    ("highmem-2", "highmem", 2, 8192, None),
    ("highcpu-4", "highcpu", 4, 4096, None),
)
DEFAULT_MACHINE_TYPE = "tiny-1"


@dataclass(frozen=True, slots=True)
class BootstrapResult:
    """`password` is the one-time password when the administrator was made now, else None."""

    username: str
    password: str | None
    zone: str
    project: str


@service
def bootstrap() -> BootstrapResult:
    """Administrator, project, zone, machine types, a price list and periodic tasks."""
    zone, _made = Zone.objects.get_or_create(name=ZONE)
    for name, family, vcpus, memory_mib, limit in MACHINE_TYPES:
        MachineType.objects.get_or_create(
            name=name,
            defaults={
                "family": family,
                "vcpus": vcpus,
                "memory_mib": memory_mib,
                "cpu_quota_percent": limit,
                "is_default": name == DEFAULT_MACHINE_TYPE and not MachineType.objects.filter(is_default=True).exists(),
            },
        )
    admin, password = _administrator()
    project = Project.objects.filter(slug=PROJECT).first() or create_project(PROJECT, owner=admin)
    if not project.memberships.exists():
        Membership.objects.create(project=project, user=admin, role="owner")
    prices.seed()
    _billing_group()
    periodic.put_right(report_missing=False)
    return BootstrapResult(admin.username, password, zone.name, project.slug)


def _billing_group() -> None:
    """The staff's role that sees money, and no VM, console or host.

    It is given each model once, also by an upgrade that brings a new one. What people changed of it stays.
    """
    group, made = Group.objects.get_or_create(name=BILLING_GROUP)
    given = set(GroupGrant.objects.filter(group=group).values_list("model", flat=True))
    if not made and not given:
        given = _given_before(group)
        GroupGrant.objects.bulk_create(GroupGrant(group=group, model=model) for model in sorted(given))
    for model in (name.lower() for name in BILLING_MODELS):
        found = Permission.objects.filter(content_type__app_label="lifecycle", content_type__model=model)
        if model not in given and found:
            group.permissions.add(*found.exclude(codename__startswith="delete_"))
            GroupGrant.objects.create(group=group, model=model)


def _given_before(group: Group) -> set[str]:
    """What a group of a version that wrote nothing down was given: the first models, and what it still has."""
    has = group.permissions.filter(content_type__app_label="lifecycle").values_list("content_type__model", flat=True)
    return {name.lower() for name in _AT_FIRST} | {*has}


def _administrator() -> tuple[User, str | None]:
    found = User.objects.filter(is_superuser=True).order_by("pk").first()
    if found:
        return found, None
    password = secrets.token_urlsafe(12)
    admin = User.objects.create_superuser(ADMIN, password=password, must_change_password=True)
    return admin, password
