"""Removing from a host what deleted VMs left there while it did not answer, before anything else is done on it."""

import logging

from lifecycle.domain.errors import HypervisorError
from lifecycle.drivers.base import Hypervisor, Pool
from lifecycle.models import Cleanup
from lifecycle.services import cleanups

log = logging.getLogger(__name__)


def carry_out(host_id: int, hypervisor: Hypervisor) -> int:
    """Remove what waits; how many VMs' remains are gone. What fails is tried again with the next reconcile."""
    removed = 0
    for cleanup in cleanups.waiting(host_id):
        try:
            _remove(hypervisor, cleanup)
        except HypervisorError as error:
            log.warning("what VM %s left on host %s could not be removed yet: %s", cleanup.vm_id, host_id, error)
            continue
        cleanups.done(cleanup)
        removed += 1
    return removed


def _remove(hypervisor: Hypervisor, cleanup: Cleanup) -> None:
    """As a delete does it, step by step; each is content to find nothing. What others made of an adopted VM stays."""
    vm = cleanup.vm
    hypervisor.destroy(vm.id)
    hypervisor.undefine(vm.id)
    if vm.adopted:
        return
    for disk in vm.disks.filter(auto_delete=True):
        hypervisor.remove_volume(Pool.DISKS, disk.volume)
    hypervisor.remove_volume(Pool.DISKS, vm.seed_volume)
    hypervisor.remove_volume(Pool.SERIAL, vm.serial_volume)
    hypervisor.unbind_address(vm.project.network.name, vm.mac)
