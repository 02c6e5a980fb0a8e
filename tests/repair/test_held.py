"""A guest that QEMU holds by itself: from the event to the end of its repair, on libvirt's test driver.

The domain is paused for real; libvirt's word for why, which the test driver cannot be brought to say, is injected.
"""

from dataclasses import replace
from uuid import UUID

import libvirt
import pytest
from django.utils import timezone

from lifecycle.domain.recovery import Decision
from lifecycle.domain.states import Power, State
from lifecycle.drivers.base import DomainView, EventKind, HostEvent
from lifecycle.models import Operation, Repair
from lifecycle.repair.observe import observe
from lifecycle.repair.reconcile import reconcile
from tests.operations import conftest as operations
from tests.operations.scene import Scene

private_libvirtd, test_host = operations.private_libvirtd, operations.test_host
proxy, scene = operations.proxy, operations.scene
quiet_keeper, small_image = operations.quiet_keeper, operations.small_image

pytestmark = [pytest.mark.libvirt, pytest.mark.django_db]


def hold(scene: Scene, word: str) -> int:
    """QEMU holds the guest, and libvirt says why; the number of its run."""
    scene.bring_to(State.RUNNING)
    connection = libvirt.open(scene.host.uri)
    domain = connection.lookupByUUIDString(str(scene.vm_id))
    domain.suspend()
    run = int(domain.ID())
    connection.close()
    real = scene.proxy._real

    def why(view: DomainView | None) -> DomainView | None:
        return replace(view, reason=word) if view is not None and view.power is Power.PAUSED else view

    def look(vm_id: UUID) -> DomainView | None:
        return why(real.look(vm_id))

    scene.proxy.instead("look", look)
    scene.proxy.instead("list_domains", lambda: [why(view) for view in real.list_domains()])
    return run


def event(scene: Scene, kind: EventKind, detail: str) -> HostEvent:
    return HostEvent(kind, scene.vm_id, scene.vm.domain_name, detail, timezone.now())


def repaired(scene: Scene) -> tuple[str, str, str, int | None]:
    """Cause, event and outcome of the one repair, and the number of the run after it."""
    scene.finish(Operation.objects.exclude(status=Operation.Status.DONE).get())
    scene.assert_at_rest(State.RUNNING)
    found, view = Repair.objects.get(), scene.proxy._real.look(scene.vm_id)
    return found.cause, found.event, found.outcome, view.run_id


def test_a_guest_that_a_full_disk_holds_is_let_go_on_untouched(scene: Scene) -> None:
    run = hold(scene, "ioerror")
    told = event(scene, EventKind.IO_ERROR, "enospc on /disks/boot.qcow2")
    assert observe(scene.host.pk, scene.proxy, told) is Decision.HELD
    assert scene.state == State.REPAIRING
    assert observe(scene.host.pk, scene.proxy, told) is Decision.EXPLAINED  # told a second time
    said = "io_error: enospc on /disks/boot.qcow2; PAUSED: ioerror"
    assert repaired(scene) == ("io_error", said, "untouched", run)


def test_a_guest_whose_watchdog_fired_is_switched_off_and_started_again(scene: Scene) -> None:
    run = hold(scene, "watchdog")
    assert observe(scene.host.pk, scene.proxy, event(scene, EventKind.WATCHDOG, "")) is Decision.HUNG
    cause, said, outcome, now = repaired(scene)
    assert (cause, said, outcome) == ("watchdog", "watchdog; PAUSED: watchdog", "restarted")
    assert now != run


@pytest.mark.parametrize(("word", "cause"), [("ioerror", "io_error"), ("watchdog", "watchdog")])
def test_one_whose_event_was_missed_is_found_by_the_next_reconcile(scene: Scene, word: str, cause: str) -> None:
    hold(scene, word)
    assert reconcile(scene.host.pk, scene.proxy).healed == 1
    assert (scene.state, Repair.objects.get().cause) == (State.REPAIRING, cause)
    assert repaired(scene)[0] == cause


def test_one_that_a_person_holds_is_left_alone(scene: Scene) -> None:
    hold(scene, "user")
    assert reconcile(scene.host.pk, scene.proxy).healed == 0
    assert scene.state == State.RUNNING
    assert not Repair.objects.exists()
