"""`manage.py watch_hosts`: listens to every host, keeps the record in step with it, records serial output."""

import logging
import os
import signal
import sys
import threading
from typing import Any

from django.core.management.base import BaseCommand

from lifecycle.management.hostthreads import HostThreads
from lifecycle.operations import registry
from lifecycle.repair import hosts
from lifecycle.repair.lookout import lookout
from lifecycle.telemetry import collect

log = logging.getLogger(__name__)


class Command(BaseCommand):
    """Run until SIGTERM or SIGINT. Any number of these may run: a lease for each host decides who watches it."""

    help = "Watch all hosts: events, health, reconciliation, serial output, addresses. Any number may run."

    def handle(self, *_args: Any, **_options: Any) -> None:
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        lookout.start(registry.DEADLINES)
        HostThreads({hosts.PURPOSE: hosts.watch, collect.PURPOSE: collect.collect}).run(stopping)
        log.info("the watcher ends")
        logging.shutdown()
        sys.stdout.flush()
        # A thread that hangs in a call to a dead host would hold up the interpreter's own end.
        os._exit(0)
