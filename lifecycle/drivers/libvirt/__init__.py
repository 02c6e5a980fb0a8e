"""Hypervisors through libvirt: the only code of the product that speaks to one.

`connect` opens a connection of the caller's own; `hypervisors.get` shares one a process and host.
"""

from lifecycle.drivers.libvirt.connection import LibvirtHypervisor, connect
from lifecycle.drivers.libvirt.pool import Hypervisors

#: The process's shared connections.
hypervisors = Hypervisors()

__all__ = ["Hypervisors", "LibvirtHypervisor", "connect", "hypervisors"]
