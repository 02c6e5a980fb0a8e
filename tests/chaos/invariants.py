"""What must be true when everything is quiet: the database, the host and the books say the same.

Each check looks for itself: rows by the ORM, the host by plain libvirt calls, not by the product's own driver.
"""

import io
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise

import libvirt
from django.core.management import CommandError, call_command
from django.db.models import Count, F, Sum
from lxml import etree

from lifecycle.domain.states import State
from lifecycle.models import VM, Address, Cleanup, Host, Operation, Repair, Reservation, Transition
from lifecycle.services import quotas
from tests.chaos.site import PROJECT, Site, guest_of

#: States in which a VM may rest, and what its domain is then: running, off (or not there yet), saved.
AT_REST = {State.RUNNING: "running", State.TERMINATED: "off", State.SUSPENDED: "saved"}
COMPUTE = {State.RUNNING}


def violations(site: Site) -> list[str]:
    """Everything that is wrong now; empty when nothing is. What goes away while it is looked at counts: look again."""
    try:
        with closing(libvirt.open(site.host_uri)) as conn:
            return _violations(conn, site)
    except libvirt.libvirtError as error:
        return [f"host: {error}"]


def _violations(conn: libvirt.virConnect, site: Site) -> list[str]:
    vms = {str(vm.pk): vm for vm in VM.objects.live().filter(project__slug=PROJECT)}
    return [
        *_at_rest(vms),
        *_operations(),
        *_histories(),
        *_domains(conn, vms, site),
        *_volumes(conn, vms, site.installation),
        *_filters(conn, vms, site.installation),
        *_addresses(conn, vms, site.installation),
        *_capacity(vms),
        *_quota(vms),
        *_repairs(),
        *_metering(),
    ]


def unquiet() -> list[str]:
    """What is still under way."""
    open_now = Operation.objects.exclude(status="DONE")
    moving = VM.objects.live().filter(project__slug=PROJECT).exclude(state__in=AT_REST)
    return [
        *(f"{o} ({o.pk}), step {o.step_index}, attempt {o.attempt}, due {o.due_at:%H:%M:%S}" for o in open_now),
        *(f"{vm.name} is {vm.state}" for vm in moving),
    ]


def _at_rest(vms: dict[str, VM]) -> Iterator[str]:
    for vm in vms.values():
        if vm.state not in AT_REST:
            yield f"state: {vm.name} is stuck in {vm.state}"


def _operations() -> Iterator[str]:
    for operation in Operation.objects.exclude(status="DONE"):
        yield f"operation: {operation} ({operation.pk}) is stuck at step {operation.step_index}"
    for operation in Operation.objects.filter(status="DONE", lease_until__isnull=False):
        yield f"operation: {operation} ({operation.pk}) has ended and holds a lease"
    for operation in Operation.objects.filter(status="DONE", error__isnull=True, progress__lt=100):
        yield f"operation: {operation} ({operation.pk}) ended well at {operation.progress} %"


def _histories() -> Iterator[str]:
    """Each VM's transitions follow from each other; no operation moves its VM after its end, or to two ends."""
    for vm in VM.objects.filter(project__slug=PROJECT):
        rows = list(Transition.objects.filter(vm=vm).order_by("id"))
        for one, two in pairwise(rows):
            if one.to_state != two.from_state:
                yield f"history: {vm.name} goes on from {two.from_state} after {one.to_state}"
        last = rows[-1].to_state if rows else ""
        if last != ("" if vm.deleted_at else vm.state):
            yield f"history: {vm.name} is {vm.state}, its last transition led to {last or 'its end'}"
    # The end and the last move are written in one transaction, in this order: one move may be the later.
    late = Transition.objects.filter(operation__attempt__gt=0, recorded_at__gt=F("operation__end_time"))
    for row in late.values("operation", "operation__action").annotate(n=Count("pk")).filter(n__gt=1):
        yield f"history: {row['operation__action']} {row['operation']} moved its VM {row['n']} times after its end"
    ends = Transition.objects.filter(operation__isnull=False, to_state__in=["", *AT_REST])
    for twice in ends.values("operation", "operation__action").annotate(n=Count("pk")).filter(n__gt=1):
        yield f"history: {twice['operation__action']} {twice['operation']} has {twice['n']} ends"


def _domains(conn: libvirt.virConnect, vms: dict[str, VM], site: Site) -> Iterator[str]:
    found = {domain.UUIDString(): domain for domain in conn.listAllDomains()}
    for uuid, domain in found.items():
        if uuid not in vms:
            yield f"domain: {domain.name()} belongs to no VM"
    for uuid, vm in vms.items():
        seen = _power(found.get(uuid))
        wanted = AT_REST.get(State(vm.state))
        if wanted and seen != wanted:
            yield f"domain: {vm.name} is {vm.state}, its domain is {seen}"
    running = {domain.name() for domain in found.values() if domain.isActive()}
    for pid, words in site.qemus():
        # One without a guest is libvirtd's own question of what QEMU can do; a killed libvirtd leaves it behind.
        if (name := guest_of(words)) and name not in running:
            yield f"domain: QEMU {pid} of {name} belongs to no running domain"


def _power(domain: libvirt.virDomain | None) -> str:
    if domain is None:
        return "off"
    state, _reason = domain.state()
    if domain.isActive():
        return "running" if state == libvirt.VIR_DOMAIN_RUNNING else f"active in libvirt's state {state}"
    return "saved" if domain.hasManagedSaveImage() else "off"


def _volumes(conn: libvirt.virConnect, vms: dict[str, VM], installation: str) -> Iterator[str]:
    known = {vm.disk_volume for vm in vms.values()} | {vm.seed_volume for vm in vms.values()}
    known |= {vm.serial_volume for vm in vms.values()}
    there: set[str] = set()
    for pool in conn.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        if not pool.name().startswith(f"vmp-{installation}") or pool.name().endswith("-images"):
            continue
        pool.refresh()
        there |= {volume.name() for volume in pool.listAllVolumes()}
    for name in sorted(there - known):
        yield f"volume: {name} belongs to no VM"
    for vm in vms.values():
        if vm.disks.filter(made_at__isnull=False).exists() and vm.disk_volume not in there:
            yield f"volume: the disk of {vm.name} is missing"


def _filters(conn: libvirt.virConnect, vms: dict[str, VM], installation: str) -> Iterator[str]:
    mine = f"vmp-{installation}-"
    for found in conn.listAllNWFilters():
        if found.name().startswith(mine) and found.name().removeprefix(mine) not in vms:
            yield f"filter: {found.name()} belongs to no VM"


def _addresses(conn: libvirt.virConnect, vms: dict[str, VM], installation: str) -> Iterator[str]:
    held = {str(vm) for vm in Address.objects.filter(vm__isnull=False).values_list("vm", flat=True)}
    for uuid in held - set(vms):
        yield f"address: a deleted VM ({uuid}) holds one"
    for uuid in set(vms) - held:
        yield f"address: {vms[uuid].name} has none"
    macs = {vm.mac: vm for vm in vms.values()}
    for network in conn.listAllNetworks():
        if not network.name().startswith(f"vmp-{installation}"):
            continue
        for host in etree.fromstring(network.XMLDesc()).iterfind(".//dhcp/host"):
            vm = macs.get(str(host.get("mac")))
            if vm is None:
                yield f"address: the DHCP reservation {host.get('ip')} belongs to no VM"
            elif vm.address.ip != host.get("ip"):
                yield f"address: {vm.name} has {vm.address.ip}, its DHCP reservation says {host.get('ip')}"


def _capacity(vms: dict[str, VM]) -> Iterator[str]:
    for vm in vms.values():
        held = Reservation.objects.filter(vm=vm).first()
        wanted = (vm.vcpus, vm.memory_mib) if vm.state in COMPUTE else (0, 0)
        if (held.vcpus, held.memory_mib) != wanted if held else wanted != (0, 0):
            yield f"capacity: {vm.name} is {vm.state} and holds {held and (held.vcpus, held.memory_mib)}"
    for row in Reservation.objects.filter(vm__deleted_at__isnull=False):
        yield f"capacity: the deleted VM {row.vm} holds some"
    for host in Host.objects.all():
        total = Reservation.objects.filter(host=host).aggregate(
            vcpus=Sum("vcpus", default=0), memory=Sum("memory_mib", default=0), disk=Sum("disk_gib", default=0)
        )
        booked = {"vcpus": host.vcpus_reserved, "memory": host.memory_mib_reserved, "disk": host.disk_gib_reserved}
        if booked != total:
            yield f"capacity: {host.name} has {booked} reserved, its VMs hold {total}"


def _quota(vms: dict[str, VM]) -> Iterator[str]:
    if not vms:
        return
    project = next(iter(vms.values())).project
    used = quotas.usage_of(project)
    running = [vm for vm in vms.values() if vm.state in COMPUTE]
    disk = sum(disk.size_gib for vm in vms.values() for disk in vm.disks.all())
    wanted = (len(vms), sum(vm.vcpus for vm in running), sum(vm.memory_mib for vm in running), disk)
    if (used.vms, used.vcpus, used.memory_mib, used.disk_gib) != wanted:
        yield f"quota: {used} is counted, {wanted} exists"


def _repairs() -> Iterator[str]:
    for repair in Repair.objects.filter(closed_at__isnull=True).exclude(vm__state=State.REPAIRING):
        yield f"repair: {repair} is open, the VM is {repair.vm.state}"
    for cleanup in Cleanup.objects.filter(done_at__isnull=True):
        yield f"cleanup: {cleanup} is not done"


def _metering() -> Iterator[str]:
    """Intervals without gap or overlap, as the log of transitions says."""
    try:
        call_command("rebuild_metering", "--check", stdout=io.StringIO())
    except CommandError as error:
        yield f"metering: {error}"
