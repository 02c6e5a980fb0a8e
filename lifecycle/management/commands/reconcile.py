"""`manage.py reconcile [NAME…]`: compare hosts with the record now, and say what was found."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from lifecycle.domain.errors import HypervisorError
from lifecycle.models import Host
from lifecycle.repair.hosts import connected
from lifecycle.repair.reconcile import reconcile


class Command(BaseCommand):
    """Reconcile hosts by hand. Harmless beside a watcher."""

    help = "Compare hosts with the database now, put right what has one right answer, list the rest."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("names", nargs="*", metavar="NAME", help="hosts; all when none is given")

    def handle(self, *_args: Any, **options: Any) -> None:
        names = options["names"]
        hosts = Host.objects.filter(name__in=names) if names else Host.objects.all()
        missing = set(names) - {host.name for host in hosts}
        if missing:
            raise CommandError(f"no such host: {', '.join(sorted(missing))}")
        failed = [host.name for host in hosts if not self._reconcile(host)]
        if failed:
            raise CommandError(f"no answer from: {', '.join(failed)}")

    def _reconcile(self, host: Host) -> bool:
        try:
            with connected(host.uri) as hypervisor:
                result = reconcile(host.pk, hypervisor)
        except HypervisorError as error:
            self.stderr.write(f"{host.name}: {error}")
            return False
        self.stdout.write(f"{host.name}: {result}")
        for finding in result.findings:
            self.stdout.write(f"  {finding.kind} {finding.subject}: {finding.text}")
        return True
