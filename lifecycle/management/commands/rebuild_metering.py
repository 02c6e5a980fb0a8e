"""`manage.py rebuild_metering`: derives all metering intervals again from the logs of transitions and of images."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from lifecycle.services import image_metering, metering

WORDS_MAX = 1000


class Command(BaseCommand):
    """Compares, or writes anew what differs; what agrees with the log is never touched."""

    help = "Derive all metering intervals again from the logs of transitions and of images."

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
        report = metering.check(limit=WORDS_MAX) + image_metering.check(limit=WORDS_MAX)
        compared = f"{report.vms} VMs and {report.images} images were compared with their log."
        for line in report.words:
            self.stdout.write(line)
        if report.differences:
            raise CommandError(f"{report.differences} differences; {compared}")
        self.stdout.write(f"No difference: {compared}")

    def _repair(self) -> None:
        for vm_id in metering.vms_that_differ():
            for line in metering.differences(vm_id):
                self.stdout.write(line)
            if rewritten := metering.repair(vm_id):
                self.stdout.write(f"  intervals written as the log says: {rewritten}")
        for image in image_metering.images_that_differ():
            for line in image_metering.differences(image):
                self.stdout.write(line)
            if rewritten := image_metering.repair(image):
                self.stdout.write(f"  intervals written as the log says: {rewritten}")
        if found := image_metering.put_right():
            self.stdout.write(f"images that are metered anew, from now on: {found}")
