"""`manage.py register_host NAME URI --zone ZONE`: make a host known, and ready for VMs."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from lifecycle.domain.errors import DomainError, HypervisorError
from lifecycle.drivers.base import Hypervisor, Inventory
from lifecycle.models import Host
from lifecycle.repair.hosts import connected, describe
from lifecycle.services import hosts


class Command(BaseCommand):
    """Connect, take stock, lay out the pools, try acceleration, record. Run again it only brings up to date."""

    help = "Register a host: connects, prepares its storage and finds out how it can run guests."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="the host's name in the portal")
        parser.add_argument("uri", help="its libvirt URI, such as qemu:///system")
        parser.add_argument("--zone", required=True, help="the zone it belongs to")
        parser.add_argument("--probe", action="store_true", help="try acceleration again, even if nothing has changed")

    def handle(self, *_args: Any, **options: Any) -> None:
        name, uri = options["name"], options["uri"]
        try:
            self._say(f"Connecting to {uri} …")
            with connected(uri) as hypervisor:
                self._register(hypervisor, name, uri, options["zone"], probe=options["probe"])
        except HypervisorError as error:
            raise CommandError(f"{uri}: {error.user_text} ({error})") from error
        except DomainError as error:
            raise CommandError(error.text) from error

    def _register(self, hypervisor: Hypervisor, name: str, uri: str, zone: str, *, probe: bool) -> None:
        seen = hypervisor.inventory()
        self._say(
            f"{seen.hostname}: {seen.cpus} CPUs, {seen.memory_mib} MiB, {seen.disk_gib} GiB, "
            f"libvirt {seen.libvirt_version}, QEMU {seen.hypervisor_version}"
        )
        known = Host.objects.filter(name=name, uri=uri).exclude(domain_type_reason="").first()
        host = hosts.register(name, uri, zone)
        self._say("Laying out the storage pools …")
        hypervisor.ensure_pools()
        seen = hypervisor.inventory()  # the disks' size is that of the pool's file system
        if probe or known is None or _changed(known, seen):
            self._say("Trying how guests run here (up to 15 seconds) …")
            verdict = hypervisor.probe_acceleration()
            hosts.record_verdict(host.pk, verdict.domain_type, verdict.reason)
            self._say(f"{verdict.domain_type}: {verdict.reason}")
        describe(host.pk, seen)
        hosts.mark_up(host.pk)
        self._say(f"Host {name} is ready in zone {zone}.")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _changed(known: Host, seen: Inventory) -> bool:
    recorded = (known.libvirt_version, known.hypervisor_version)
    return recorded != (seen.libvirt_version, seen.hypervisor_version)
