"""One hypervisor's open connections and the way every verb goes through them: a line, the call, translation.

The verbs are spread over mixins of `Session` by subject (host, networks, storage, domains); `connection` puts them
together. A session whose first connection died stays dead: every verb raises `Transient`, and a new one is opened.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import libvirt

from lifecycle import tracing
from lifecycle.domain.errors import Transient
from lifecycle.drivers.libvirt.errors import translate
from lifecycle.drivers.libvirt.events import Watch
from lifecycle.drivers.libvirt.lines import Lines, is_alive

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Session")


class Session:
    """A host as one installation sees it. Thread-safe."""

    def __init__(self, lines: Lines, installation: str) -> None:
        self.lines = lines
        self.installation = installation
        #: libvirt's test driver: no uploads, no filters, no leases, no guests
        self.is_test = lines.first.getType() == "TEST"
        self.watch = Watch(lines.first)

    @property
    def conn(self) -> Any:
        """The libvirt connection that is this thread's for the length of a verb."""
        return self.lines.current

    def alive(self) -> bool:
        """Whether the connection is up, as its socket and keepalive tell; asks nobody."""
        return not self.watch.lost and is_alive(self.lines.first)

    def close(self) -> None:
        """Give the connection up; harmless when it is dead or closed."""
        self.lines.close()
        self.watch.close()


def verb(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """A method that calls the host: has a line of its own, and raises only `HypervisorError`."""

    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if not self.alive():
            raise Transient(f"{method.__name__}: the connection to the host was lost")
        with tracing.span(f"libvirt {method.__name__}"), self.lines.line():
            try:
                return method(self, *args, **kwargs)
            except libvirt.libvirtError as error:
                raise translate(error, method.__name__, alive=is_alive(self.conn)) from error

    functools.update_wrapper(call, method)
    return call
