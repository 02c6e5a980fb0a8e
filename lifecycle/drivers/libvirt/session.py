"""One open connection and the way every verb goes through it: gate, call, translation.

The verbs are spread over mixins of `Session` by subject (host, networks, storage, domains); `connection` puts them
together. A session whose connection died stays dead: every verb raises `Transient`, and a new one is opened.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import libvirt

from lifecycle.domain.errors import Transient
from lifecycle.drivers.libvirt.errors import translate
from lifecycle.drivers.libvirt.events import Watch
from lifecycle.drivers.libvirt.gate import Gate

P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S", bound="Session")


class Session:
    """A libvirt connection of one installation. Thread-safe, as libvirt's connections are."""

    def __init__(self, connection: Any, installation: str, gate: Gate) -> None:
        self.conn = connection
        self.installation = installation
        self.gate = gate
        #: libvirt's test driver: no uploads, no filters, no leases, no guests
        self.is_test = connection.getType() == "TEST"
        self.watch = Watch(connection)

    def alive(self) -> bool:
        """Whether the connection is up, as its socket and keepalive tell; asks nobody."""
        if self.watch.lost:
            return False
        try:
            return bool(self.conn.isAlive())
        except libvirt.libvirtError:
            return False

    def close(self) -> None:
        """Give the connection up; harmless when it is dead or closed."""
        self.watch.close()


def verb(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """A method that calls the host: takes a slot of the gate, and raises only `HypervisorError`."""

    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self.gate.slot():
            if not self.alive():
                raise Transient(f"{method.__name__}: the connection to the host was lost")
            try:
                return method(self, *args, **kwargs)
            except libvirt.libvirtError as error:
                raise translate(error, method.__name__, alive=self.alive()) from error

    functools.update_wrapper(call, method)
    return call
