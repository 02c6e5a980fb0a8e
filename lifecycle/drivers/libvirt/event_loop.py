"""libvirt's event loop: one daemon thread a process, running before the first connection is opened.

Keepalive and callbacks need it, in workers too. In a forked child the thread does not exist and events would
silently never come, so that processes of ours use threads (or are started anew), never fork.
"""

import logging
import threading
import time

import libvirt

log = logging.getLogger(__name__)

_started = threading.Lock()
_thread: threading.Thread | None = None


def ensure_event_loop() -> None:
    """Start the loop when it is not running yet."""
    global _thread  # one a process is libvirt's own rule
    with _started:
        if _thread is not None:
            return
        libvirt.registerErrorHandler(_swallow, None)
        libvirt.virEventRegisterDefaultImpl()
        _thread = threading.Thread(target=_run, name="libvirt-events", daemon=True)
        _thread.start()


def _run() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            log.exception("libvirt's event loop stumbled")
            time.sleep(0.1)


def _swallow(_context: object, _error: object) -> None:
    """Errors are raised as exceptions; libvirt would print them on stderr as well."""
