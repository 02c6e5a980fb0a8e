"""The way from an operation to a host: one function, so that tests can put faults in it."""

from django.conf import settings

from lifecycle.drivers.base import Hypervisor
from lifecycle.drivers.libvirt import hypervisors


def connect(uri: str) -> Hypervisor:
    """The process's connection to the host at `uri`; raises `Transient` when it does not answer."""
    return hypervisors.get(uri, installation=settings.INSTALLATION_ID, calls_max=settings.HOST_CALLS_MAX)
