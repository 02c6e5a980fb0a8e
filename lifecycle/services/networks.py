"""A network a project, an address a VM: given once, kept for life."""

import secrets
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import IPv4Network
from itertools import islice

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from lifecycle.domain.errors import ResourcePoolExhausted
from lifecycle.models import VM, Address, Network, Project
from lifecycle.services.db import service

#: All project networks of all installations on a host are cut from this range.
RANGE = IPv4Network("10.128.0.0/9")
PREFIX = 20
#: How long a released address rests: longer than a DHCP lease, so that no guest meets another's lease.
REST = timedelta(minutes=5)


@service
def network_of(project: Project) -> Network:
    """The project's network, made on first use. Installations start at different places of the range."""
    found = Network.objects.filter(project=project).first()
    if found:
        return found
    name = f"vmp-{settings.INSTALLATION_ID}-{project.pk}"
    bridge = f"v{settings.INSTALLATION_ID}{project.pk:x}"[:15]
    for cidr in _free_ranges(project):
        try:
            with transaction.atomic():
                return Network.objects.create(project=project, name=name, bridge=bridge, cidr=cidr)
        except IntegrityError:  # another project was faster to take this range
            if made := Network.objects.filter(project=project).first():
                return made
    raise ResourcePoolExhausted("There is no free network range for another project.")


def _free_ranges(project: Project) -> Iterator[str]:
    """Ranges no project has now, from a place that follows from the installation and the project's number.

    By the number, because after a restore the host may have networks of projects that the database does not know.
    """
    count = 2 ** (PREFIX - RANGE.prefixlen)
    start = (int(settings.INSTALLATION_ID, 16) + project.pk) % count
    taken = set(Network.objects.values_list("cidr", flat=True))
    for step in range(count):
        index = (start + step) % count
        cidr = str(IPv4Network((int(RANGE.network_address) + index * 2 ** (32 - PREFIX), PREFIX)))
        if cidr not in taken:
            yield cidr


def give_address(vm: VM) -> Address:
    """A free address of the project's network, never-used ones first. Needs an open transaction."""
    network = network_of(vm.project)
    rested = (
        Address.objects.select_for_update()
        .filter(network=network, vm__isnull=True, released_at__lt=timezone.now() - REST)
        .order_by("released_at")
    )
    if (ip := next(never_used(network), None)) is not None:
        return Address.objects.create(network=network, ip=ip, vm=vm)
    address = rested.first()
    if address is None:
        raise ResourcePoolExhausted("The project's network has no free address. Delete a VM or wait some minutes.")
    Address.objects.filter(pk=address.pk).update(vm=vm, released_at=None)
    address.refresh_from_db()
    return address


def never_used(network: Network) -> Iterator[str]:
    """The network's addresses that no VM ever had, in their order."""
    known = set(Address.objects.filter(network=network).values_list("ip", flat=True))
    hosts = islice(IPv4Network(network.cidr).hosts(), 1, None)  # the first is the gateway
    return (str(ip) for ip in hosts if str(ip) not in known)


def take_address_back(vm: VM) -> None:
    """Release the VM's address; it rests before it is given again. Needs an open transaction."""
    Address.objects.filter(vm=vm).update(vm=None, released_at=timezone.now())


def new_mac() -> str:
    """A random MAC in QEMU's range."""
    return "52:54:00:" + ":".join(f"{b:02x}" for b in secrets.token_bytes(3))
