"""Opening a connection within a bound.

A stopped daemon accepts a connection and then says nothing: `libvirt.open` has no time limit and waits for ever.
So it is called in a helper thread; one that does not come back in time is kept, and the next attempt waits for
that one first, so that attempts at a hung host do not pile up threads.
"""

import threading
from collections import defaultdict
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import libvirt

from lifecycle.domain.errors import Transient
from lifecycle.drivers.libvirt.errors import translate
from lifecycle.drivers.libvirt.event_loop import ensure_event_loop

OPEN_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """A dead or hung daemon is noticed after about `interval_seconds` x (`count` + 1)."""

    interval_seconds: int = 5
    count: int = 3


_late: defaultdict[str, list["Future[Any]"]] = defaultdict(list)
_lock = threading.Lock()


def open_connection(uri: str, keepalive: KeepAlive, *, seconds: float = OPEN_SECONDS) -> Any:
    """An open libvirt connection with keepalive on.

    Raises:
        HypervisorError: `Transient` when the host does not answer within `seconds`.
    """
    ensure_event_loop()
    attempt = _attempt(uri, keepalive)
    try:
        return attempt.result(timeout=seconds)
    except libvirt.libvirtError as error:
        raise translate(error, "connect", alive=_speaks(error)) from error
    except TimeoutError as error:
        with _lock:
            _late[uri].append(attempt)
        raise Transient(f"connect: no answer within {seconds:.0f} s") from error


def _speaks(error: libvirt.libvirtError) -> bool:
    """Whether somebody answered at all: a refused login is no silence."""
    return error.get_error_domain() == libvirt.VIR_FROM_POLKIT or error.get_error_code() in {
        libvirt.VIR_ERR_AUTH_FAILED,
        libvirt.VIR_ERR_AUTH_UNAVAILABLE,
        libvirt.VIR_ERR_AUTH_CANCELLED,
        libvirt.VIR_ERR_ACCESS_DENIED,
        libvirt.VIR_ERR_NO_SUPPORT,
    }


def _attempt(uri: str, keepalive: KeepAlive) -> "Future[Any]":
    """An earlier attempt that is still under way, or a new one."""
    with _lock:
        if _late[uri]:
            return _late[uri].pop()
    attempt: Future[Any] = Future()
    threading.Thread(target=_open, args=(uri, keepalive, attempt), name="libvirt-open", daemon=True).start()
    return attempt


def _open(uri: str, keepalive: KeepAlive, attempt: "Future[Any]") -> None:
    try:
        connection = libvirt.open(uri)
        _keep_alive(connection, keepalive)
    except BaseException as error:  # handed over to the thread that waits
        attempt.set_exception(error)
    else:
        attempt.set_result(connection)


def _keep_alive(connection: Any, keepalive: KeepAlive) -> None:
    """Needs no answer. A driver inside our own process (test:///) has nothing to keep alive."""
    try:
        connection.setKeepAlive(keepalive.interval_seconds, keepalive.count)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
            raise
