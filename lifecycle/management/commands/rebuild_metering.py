"""`manage.py rebuild_metering`: derives all metering intervals again from the log of transitions."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from lifecycle.services import metering

WORDS_MAX = 1000


class Command(BaseCommand):
    """Compares, or writes anew what differs; what agrees with the log is never touched."""

    help = "Derive all metering intervals again from the log of transitions."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One of the two must be said: nothing is changed by leaving a word out."""
        chosen = parser.add_mutually_exclusive_group(required=True)
        chosen.add_argument("--check", action="store_true", help="compare alone; fail when anything differs")
        chosen.add_argument("--repair", action="store_true", help="write anew the intervals that differ from the log")

    def handle(self, *_args: Any, **options: Any) -> None:
        if options["repair"]:
            self._repair()
        self._check()

    def _check(self) -> None:
        report = metering.check(limit=WORDS_MAX)
        for line in report.words:
            self.stdout.write(line)
        if report.differences:
            raise CommandError(f"{report.differences} differences; {report.vms} VMs were compared with their log.")
        self.stdout.write(f"No difference: {report.vms} VMs were compared with their log.")

    def _repair(self) -> None:
        for vm_id in metering.vms_that_differ():
            for line in metering.differences(vm_id):
                self.stdout.write(line)
            if rewritten := metering.repair(vm_id):
                self.stdout.write(f"  intervals written as the log says: {rewritten}")
