"""`manage.py portal_status`: what the database knows of the installation's health; asks no hypervisor."""

import json
from typing import Any

import django
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import connection
from django.utils.translation import gettext as _

from lifecycle.models import VM, Host, Operation


class Command(BaseCommand):
    """Print hosts, counts and versions."""

    help = "Tell what the database knows of hosts, VMs and operations."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        found = collect()
        if options["json"]:
            self.stdout.write(json.dumps(found, default=str))
            return
        for host in found["hosts"]:
            self.stdout.write(f"{host['name']} ({host['uri']}): {host['health']} {host['reason']}")
        self.stdout.write(", ".join(f"{name}: {count}" for name, count in found["counts"].items()))


def collect() -> dict[str, Any]:
    """Hosts, counts, versions and switches, ready for JSON."""
    hosts = [describe(host) for host in Host.objects.order_by("name")]
    first = next(iter(hosts), None)
    return {
        "hosts": hosts,
        "counts": {
            "vms": VM.objects.filter(deleted_at__isnull=True).count(),
            "open_operations": Operation.objects.exclude(status=Operation.Status.DONE).count(),
        },
        "mail": settings.MAIL_ENABLED,
        "versions": {
            "django": django.get_version(),
            "database": database_version(),
            "libvirt": first["libvirt_version"] if first else "",
            "qemu": first["hypervisor_version"] if first else "",
        },
    }


def describe(host: Host) -> dict[str, Any]:
    """One host as the database last saw it."""
    seen = host.last_seen_at.isoformat() if host.last_seen_at else None
    return {
        "name": host.name,
        "uri": host.uri,
        "health": host.health,
        "healthy": host.health == Host.Health.UP,
        "reason": host.health_reason or (_("not seen yet") if host.health == Host.Health.UNKNOWN else ""),
        "last_seen_at": seen,
        "virtualisation": host.domain_type,
        "virtualisation_reason": host.domain_type_reason,
        "libvirt_version": host.libvirt_version,
        "hypervisor_version": host.hypervisor_version,
        "schedulable": host.schedulable,
    }


def database_version() -> str:
    """The engine with its version, such as "postgresql 15.4"."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT sqlite_version()" if connection.vendor == "sqlite" else "SHOW server_version")
        row = cursor.fetchone()
    return f"{connection.vendor} {row[0].split()[0] if row else ''}".strip()
