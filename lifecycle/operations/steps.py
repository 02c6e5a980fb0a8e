"""Steps that several operations share. Each looks, acts, records; run twice it succeeds."""

from datetime import datetime

from django.conf import settings
from django.utils import timezone

from lifecycle.domain.errors import Broken, Refused
from lifecycle.domain.guests import seed_files
from lifecycle.domain.states import Power, State
from lifecycle.drivers.base import AddressBinding, ImageRef, Pool
from lifecycle.models import VM, Disk
from lifecycle.operations.context import Context
from lifecycle.operations.definition import Again, Outcome, Step, Work
from lifecycle.operations.seed import build_iso
from lifecycle.services import capacity, keys, leases, networks, observations

GIB = 2**30
#: One worker at a time uploads an image to a host; its lease is renewed between chunks.
UPLOAD_LEASE_SECONDS = 30.0

# -- reserving -----------------------------------------------------------------------------------


def _reserve_capacity(context: Context) -> Outcome:
    with context.writing():
        host = capacity.reserve(context.vm)
        if context.state is State.PROVISIONING:
            context.move(State.PROVISIONING, State.STAGING, host=host)
    return None


def release_compute(context: Context) -> Outcome:
    """Give vCPU and memory back."""
    with context.writing():
        capacity.release_compute(context.vm)
    return None


def _release_reservation(context: Context) -> Outcome:
    with context.writing():
        capacity.release_all(context.vm)
        VM.objects.filter(pk=context.vm.pk, state=State.PROVISIONING).update(host=None)
    return None


RESERVE_FOR_NEW = Step("reserve_capacity", _reserve_capacity, undo=_release_reservation)
RESERVE = Step("reserve_capacity", _reserve_capacity, undo=release_compute)
RELEASE_COMPUTE = Step("release_capacity", release_compute, no_undo="the VM is off: nothing to give back to")

# -- network -------------------------------------------------------------------------------------


def _of_our_making(work: Work) -> Work:
    """`work` for VMs that this product made: what belongs to an adopted VM was made by others, and stays as it is."""

    def run(context: Context) -> Outcome:
        return None if context.vm.adopted else work(context)

    return run


@_of_our_making
def _prepare_network(context: Context) -> Outcome:
    spec = context.network_spec()
    context.host().ensure_network(spec)
    binding = AddressBinding(context.vm.mac, context.domain_spec().ip, context.vm.name)
    context.host().bind_address(spec.name, binding)
    return None


@_of_our_making
def unbind_address(context: Context) -> Outcome:
    """Take the DHCP reservation away."""
    if context.vm.host_id:
        context.host().unbind_address(context.network_spec().name, context.vm.mac)
    return None


PREPARE_NETWORK = Step(
    "prepare_network", _prepare_network, no_undo="the network is the project's; the address stays with the VM"
)
PREPARE_NETWORK_FOR_NEW = Step("prepare_network", _prepare_network, undo=unbind_address)

# -- storage -------------------------------------------------------------------------------------


@_of_our_making
def _prepare_image(context: Context) -> Outcome:
    """The golden image and the CD are on the host; uploaded once, however many VMs wait for them."""
    for image_id, image in context.image_refs():
        if not context.host().has_image(image) and (again := _bring_image(context, image_id, image)):
            return again
    return None


def _bring_image(context: Context, image_id: int, image: ImageRef) -> Again | None:
    source = settings.IMAGE_STORE / image.volume
    if not source.is_file():
        raise Refused(f"image file {source} is missing in the image store")
    lease = (context.placed_on.pk, f"image-{image_id}", str(context.operation.pk))
    if not leases.take(*lease, UPLOAD_LEASE_SECONDS):
        return Again(1.0, "another VM's operation brings the image to the host")
    turn = leases.Renewal(lease, UPLOAD_LEASE_SECONDS, context.check_lease)
    try:
        context.host().upload_image(image, source, turn.keep)
    finally:
        leases.release(*lease)
    return None


@_of_our_making
def _prepare_disk(context: Context) -> Outcome:
    disk = Disk.objects.get(vm=context.vm, boot=True)
    known = [v.name for v in context.host().list_volumes(Pool.DISKS)] if disk.made_at else []
    if disk.made_at:
        if disk.volume not in known:
            known = [v.name for v in context.host().list_volumes(Pool.DISKS, afresh=True)]
        if disk.volume not in known:
            raise Broken(f"disk {disk.volume} of VM {context.vm.id} is missing on its host: it is not made anew")
        return None
    context.host().create_overlay(disk.volume, context.image_ref(), disk.size_gib * GIB)
    with context.writing():
        Disk.objects.filter(pk=disk.pk).update(made_at=timezone.now())
    return None


@_of_our_making
def remove_disk(context: Context) -> Outcome:
    """Remove the boot disk, when it goes with its VM."""
    disk = Disk.objects.filter(vm=context.vm, boot=True, auto_delete=True).first()
    if disk and context.vm.host_id:
        context.host().remove_volume(Pool.DISKS, disk.volume)
        with context.writing():
            Disk.objects.filter(pk=disk.pk).update(made_at=None)
    return None


@_of_our_making
def _write_seed(context: Context) -> Outcome:
    vm = context.vm
    files = seed_files(
        instance_id=f"iid-{vm.id}",
        hostname=vm.name,
        ssh_keys=keys.seed_keys(vm),
        startup_script=vm.startup_script,
        user_data=vm.user_data,
    )
    context.host().write_seed(vm.seed_volume, build_iso(files))
    return None


@_of_our_making
def remove_seed(context: Context) -> Outcome:
    """Remove the seed and the serial log."""
    if context.vm.host_id:
        context.host().remove_volume(Pool.DISKS, context.vm.seed_volume)
        context.host().remove_volume(Pool.SERIAL, context.vm.serial_volume)
    return None


_SHARED = "the image is shared by all VMs of the host"
PREPARE_IMAGE = Step("prepare_image", _prepare_image, no_undo=_SHARED, deadline_seconds=1800)
PREPARE_DISK_FOR_NEW = Step("prepare_disk", _prepare_disk, undo=remove_disk)
PREPARE_DISK = Step("prepare_disk", _prepare_disk, no_undo="the disk is the VM's and stays")
WRITE_SEED_FOR_NEW = Step("write_seed", _write_seed, undo=remove_seed)
WRITE_SEED = Step("write_seed", _write_seed, no_undo="written again at every cold start")

# -- domain --------------------------------------------------------------------------------------


def _define_domain(context: Context) -> Outcome:
    """From the record; a definition that is others', or whose change was accepted, gets our mark and stays."""
    vm = context.vm
    if vm.adopted or (vm.definition and context.host().look(vm.id) is not None):
        context.host().mark(vm.id, project=vm.project.slug, vm_name=vm.name, generation=vm.fence)
        return None
    if vm.cdrom_id != vm.next_cdrom_id:
        with context.writing():
            VM.objects.filter(pk=vm.pk).update(cdrom=vm.next_cdrom_id)
    context.host().define(context.domain_spec())
    return None


def undefine_domain(context: Context) -> Outcome:
    """Force it off and remove the definition with all libvirt keeps of it."""
    if context.vm.host_id:
        context.host().destroy(context.vm.id)
        context.host().undefine(context.vm.id)
    return None


def _start_domain(context: Context) -> Outcome:
    context.host().start(context.vm.id)
    context.seen = context.host().look(context.vm.id)
    return None


def power_off(context: Context) -> Outcome:
    """Force it off; off or absent is success."""
    if context.vm.host_id:
        context.host().destroy(context.vm.id)
    return None


DEFINE_FOR_NEW = Step("define_domain", _define_domain, undo=undefine_domain)
DEFINE = Step("define_domain", _define_domain, no_undo="a stopped VM keeps its definition")
START_DOMAIN = Step("start_domain", _start_domain, undo=power_off)
POWER_OFF = Step("power_off", power_off, no_undo="what it was asked to do")


def arrived(context: Context, source: State) -> None:
    """The VM runs: the last write of create, start and resume. Inside `writing`."""
    view = context.seen
    now = timezone.now()
    context.move(
        source,
        State.RUNNING,
        power=view.power if view else Power.UNKNOWN,
        run_id=view.run_id if view else None,
        power_seen_at=now,
        last_started_at=now,
    )


# -- ends ----------------------------------------------------------------------------------------


def entomb(context: Context, reason: str = "", *, holds_capacity: bool = False) -> None:
    """The VM is gone: tombstone, address and reservation given back, serial output dropped. Inside `writing`.

    `holds_capacity`: a cleanup gives the reservation back, when nothing of the VM is on the host any more.
    """
    vm = context.vm
    if not holds_capacity:
        capacity.release_all(vm)
    networks.take_address_back(vm)
    context.move(context.state, None, reason=reason)
    observations.forget_serial([vm.pk])


def guest_is_off(context: Context) -> bool:
    """Whether the domain is off, absent or saved."""
    if not context.vm.host_id:
        return True
    view = context.host().look(context.vm.id)
    return view is None or view.power in {Power.OFF, Power.SAVED, Power.ABSENT, Power.CRASHED}


def seconds_since(iso: str | None) -> float:
    """Age of a remembered moment, 0 when there is none."""
    return (timezone.now() - datetime.fromisoformat(iso)).total_seconds() if iso else 0.0
