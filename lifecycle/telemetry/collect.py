"""Collecting from one host: serial output every few seconds, usage every ten, addresses now and then.

`collect` runs in a thread of its own for each host, on a connection of its own, under the lease "record".
"""

import logging
import time
from typing import Final

from django.conf import settings
from django.db import DatabaseError, close_old_connections, connection

from lifecycle.domain.errors import HypervisorError
from lifecycle.drivers.libvirt import connect
from lifecycle.services.leases import Turn
from lifecycle.telemetry.addresses import collect_addresses
from lifecycle.telemetry.serial import Recorder
from lifecycle.telemetry.usage import Meter

log = logging.getLogger(__name__)

PURPOSE: Final = "record"
SERIAL_SECONDS: Final = 2.5
ADDRESS_SECONDS: Final = 10.0
BACKOFF_SECONDS: Final = (2.0, 30.0)


def collect(host_id: int, uri: str, turn: Turn) -> None:
    """Collect from the host until the turn ends. A lost host is the watcher's to tell; here it is waited for."""
    pause = BACKOFF_SECONDS[0]
    while turn.goes_on():
        began = time.monotonic()
        try:
            _session(host_id, uri, turn)
        except HypervisorError as error:
            log.info("host %s: nothing can be collected: %s", host_id, error)
        except DatabaseError:
            log.exception("host %s: the database does not answer; trying again", host_id)
            connection.close()
        if time.monotonic() - began > BACKOFF_SECONDS[1]:
            pause = BACKOFF_SECONDS[0]
        turn.pause(pause)
        pause = min(BACKOFF_SECONDS[1], pause * 2)


def _session(host_id: int, uri: str, turn: Turn) -> None:
    hypervisor = connect(uri, settings.INSTALLATION_ID)
    meter = Meter(host_id, hypervisor)
    try:
        recorder = Recorder(host_id, hypervisor)
        measure_at = addresses_at = 0.0
        while turn.goes_on():
            close_old_connections()
            if time.monotonic() >= measure_at:
                meter.measure()
                measure_at = time.monotonic() + meter.wait_seconds()
            recorder.record()
            if time.monotonic() >= addresses_at:
                collect_addresses(host_id, hypervisor)
                addresses_at = time.monotonic() + ADDRESS_SECONDS
            turn.pause(max(0.0, min(SERIAL_SECONDS, measure_at - time.monotonic())))
    finally:
        _leave(host_id, meter)
        hypervisor.close()


def _leave(host_id: int, meter: Meter) -> None:
    """Write what was measured so far: another process, or the next session, goes on in the same rows."""
    try:
        meter.flush()
    except DatabaseError:
        log.warning("host %s: the last minutes of usage could not be written", host_id)
        connection.close()
