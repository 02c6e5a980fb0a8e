"""Findings on a host of libvirt's test driver: kept, refreshed, closed; chosen about, and the choices carried out."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from pytest_django import Settings

from lifecycle.domain.errors import HypervisorError, InvalidInput, NameTaken, StateConflict
from lifecycle.domain.findings import Choice, Kind, Sighting
from lifecycle.domain.states import Power, State
from lifecycle.domain.transitions import Action
from lifecycle.drivers.base import ImageRef, Pool
from lifecycle.models import VM, Cleanup, Finding, Image, Operation, Project, Reservation, Transition, User
from lifecycle.repair import findings as repair
from lifecycle.repair.reconcile import Result, reconcile
from lifecycle.services import findings
from lifecycle.services.vms import request_action
from tests.operations import conftest as operations
from tests.operations.scene import Scene

private_libvirtd, test_host = operations.private_libvirtd, operations.test_host
proxy, scene = operations.proxy, operations.scene
quiet_keeper, small_image = operations.quiet_keeper, operations.small_image

pytestmark = [pytest.mark.libvirt, pytest.mark.django_db]


def look(scene: Scene) -> Result:
    """One reconcile of the scene's host."""
    return reconcile(scene.host.pk, scene.proxy)


def ours(result: Result) -> list[Sighting]:
    """What was found but for the domain that libvirt's test driver comes with."""
    return [sighting for sighting in result.findings if sighting.kind is not Kind.FOREIGN_DOMAIN]


def only(kind: Kind, **where: Any) -> Finding:
    """The one finding of the kind."""
    return Finding.objects.get(kind=kind, **where)


def choose(scene: Scene, finding: Finding, choice: Choice, **particulars: Any) -> Finding:
    """A person chooses, and the host is reconciled."""
    findings.choose(finding, choice, scene.owner, **particulars)
    look(scene)
    finding.refresh_from_db()
    return finding


def stray_volume(scene: Scene, name: str = "stray.iso") -> Finding:
    """A volume of nobody's in our pool, found."""
    scene.proxy.write_seed(name, b"somebody's")
    look(scene)
    return only(Kind.UNKNOWN_VOLUME, subject=name, closed_at__isnull=True)


def quarantine_is_over(finding: Finding) -> None:
    """The days have passed."""
    Finding.objects.filter(pk=finding.pk).update(due_at=timezone.now() - timedelta(seconds=1))


def volumes(scene: Scene) -> list[str]:
    """What lies in our pool of disks."""
    return [view.name for view in scene.proxy.list_volumes(Pool.DISKS)]


def test_the_model_speaks_as_the_domain() -> None:
    assert set(Finding.Kind.values) == set(Kind)
    assert set(Finding.Choice.values) == {"", *Choice}


# -- kept ------------------------------------------------------------------------------------------


def test_a_host_in_step_has_no_findings(scene: Scene) -> None:
    for state in (State.RUNNING, State.SUSPENDED):
        if state is State.SUSPENDED:
            scene.do(Action.SUSPEND)
        else:
            scene.bring_to(state)
        assert ours(look(scene)) == []
    assert not Finding.objects.filter(vm__isnull=False).exists()


def test_a_finding_is_opened_once_refreshed_and_closed_by_itself(scene: Scene) -> None:
    finding = stray_volume(scene)
    first_seen = finding.first_seen_at
    assert look(scene).counts["unknown_volume"] == 1
    finding.refresh_from_db()
    assert finding.first_seen_at == first_seen < finding.last_seen_at
    scene.proxy.remove_volume(Pool.DISKS, "stray.iso")
    assert look(scene).counts["unknown_volume"] == 0
    finding.refresh_from_db()
    assert (finding.closed_because, finding.choice) == (findings.GONE, "")
    assert stray_volume(scene).pk != finding.pk


def test_what_is_ignored_stays_recorded_and_is_not_counted(scene: Scene) -> None:
    finding = choose(scene, stray_volume(scene), Choice.IGNORE)
    result = look(scene)
    assert (result.counts["unknown_volume"], ours(result)) == (0, [])
    assert finding.closed_at is None
    findings.withdraw(finding, scene.owner)
    assert look(scene).counts["unknown_volume"] == 1


def test_recording_takes_as_many_queries_for_many_as_for_few(scene: Scene) -> None:
    def queries(number: int, text: str) -> int:
        seen = [Sighting(Kind.UNKNOWN_VOLUME, f"{n}.iso", text, {"pool": "disks"}) for n in range(number)]
        with CaptureQueriesContext(connection) as captured:
            findings.record(scene.host.pk, seen, (), timezone.now())
        return len(captured)

    queries(2, "new")
    assert queries(150, "new") <= 6  # two are confirmed, the others opened
    assert queries(150, "changed") <= 6
    assert queries(150, "changed") <= 3
    assert queries(0, "") <= 3
    assert Finding.objects.filter(closed_at__isnull=False).count() == 150


# -- chosen ----------------------------------------------------------------------------------------


def test_a_choice_says_who_chose_and_when(scene: Scene) -> None:
    finding = findings.choose(stray_volume(scene), Choice.IGNORE, scene.owner)
    assert (finding.chosen_by, finding.choice) == (scene.owner, "ignore")
    assert finding.chosen_at is not None


def test_only_what_is_offered_can_be_chosen(scene: Scene) -> None:
    finding = stray_volume(scene)
    assert findings.choices(finding) == (Choice.IGNORE, Choice.DELETE)
    with pytest.raises(InvalidInput, match="adopt is not possible here"):
        findings.choose(finding, Choice.ADOPT, scene.owner)


def test_a_closed_finding_offers_nothing(scene: Scene) -> None:
    finding = stray_volume(scene)
    scene.proxy.remove_volume(Pool.DISKS, "stray.iso")
    look(scene)
    finding.refresh_from_db()
    assert findings.choices(finding) == ()
    with pytest.raises(StateConflict):
        findings.choose(finding, Choice.IGNORE, scene.owner)
    with pytest.raises(StateConflict):
        findings.withdraw(finding, scene.owner)


# -- volumes ---------------------------------------------------------------------------------------


def test_nothing_is_deleted_without_a_persons_yes(scene: Scene) -> None:
    finding = stray_volume(scene)
    domain_id = orphan(scene)
    long_ago = timezone.now() - timedelta(days=365)
    Finding.objects.update(first_seen_at=long_ago, due_at=long_ago)
    for choice in ("", Choice.IGNORE):
        Finding.objects.update(choice=choice)
        look(scene)
    assert finding.subject in volumes(scene)
    assert scene.proxy.look(domain_id) is not None


def test_a_volume_is_deleted_after_its_quarantine(scene: Scene, settings: Settings) -> None:
    settings.FINDING_QUARANTINE_DAYS = 3
    finding = choose(scene, stray_volume(scene), Choice.DELETE)
    assert finding.chosen_at is not None
    assert finding.due_at == finding.chosen_at + timedelta(days=3)
    assert "stray.iso" in volumes(scene)
    quarantine_is_over(finding)
    look(scene)
    finding.refresh_from_db()
    assert "stray.iso" not in volumes(scene)
    assert finding.closed_because == "It was deleted after its quarantine."


def test_a_deletion_that_was_withdrawn_does_not_happen(scene: Scene) -> None:
    finding = choose(scene, stray_volume(scene), Choice.DELETE)
    findings.withdraw(finding, scene.owner)
    look(scene)
    assert "stray.iso" in volumes(scene)


def test_a_deletion_withdrawn_at_the_last_moment_does_not_happen(scene: Scene) -> None:
    finding = choose(scene, stray_volume(scene), Choice.DELETE)
    quarantine_is_over(finding)
    scene.proxy.at("users_of", lambda: findings.withdraw(finding, scene.owner))
    look(scene)
    assert "stray.iso" in volumes(scene)


def test_a_volume_in_use_is_not_deleted_and_says_by_what(scene: Scene) -> None:
    finding = choose(scene, stray_volume(scene), Choice.DELETE)
    quarantine_is_over(finding)
    scene.proxy.instead("users_of", lambda *_args: ["someones-domain"])
    look(scene)
    finding.refresh_from_db()
    assert "someones-domain" in finding.problem
    assert (finding.closed_at, "stray.iso" in volumes(scene)) == (None, True)
    scene.proxy.replaced.clear()
    look(scene)
    assert "stray.iso" not in volumes(scene)


def test_a_volume_that_belongs_to_a_vm_meanwhile_is_not_deleted(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    VM.objects.filter(pk=scene.vm_id).update(host=None)
    look(scene)
    finding = only(Kind.UNKNOWN_VOLUME, subject=scene.vm.disk_volume)
    Finding.objects.filter(pk=finding.pk).update(
        choice=Choice.DELETE, chosen_at=timezone.now(), due_at=timezone.now() - timedelta(seconds=1)
    )
    scene.proxy.instead("users_of", lambda *_args: [])
    look(scene)
    finding.refresh_from_db()
    assert "belongs to a VM" in finding.problem
    assert scene.vm.disk_volume in volumes(scene)


def test_what_a_waiting_cleanup_will_remove_is_no_finding(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    VM.objects.filter(pk=scene.vm_id).update(deleted_at=timezone.now())
    cleanup = Cleanup.objects.create(vm=scene.vm, host=scene.host)
    scene.proxy.fail("destroy", times=1)  # so that it has to wait
    assert ours(look(scene)) == []
    Cleanup.objects.filter(pk=cleanup.pk).update(done_at=timezone.now())
    assert {s.kind for s in ours(look(scene))} == {Kind.ORPHANED_DOMAIN, Kind.UNKNOWN_VOLUME}


# -- disks that were left --------------------------------------------------------------------------


def left_disk(scene: Scene) -> Finding:
    """A VM's disk of which neither the record nor the host's domains know anything: a backup from before it."""
    type(scene.project.quota).objects.update(disk_gib=5000)  # each disk of the test driver has 1 TiB
    type(scene.host).objects.update(disk_gib_total=5000)
    scene.bring_to(State.TERMINATED)
    image = Image.objects.get()
    name = f"{uuid4()}-boot.qcow2"
    scene.proxy.create_overlay(name, ImageRef(image.file_name, image.size_bytes, image.sha256, image.format), 2**30)
    look(scene)
    return only(Kind.UNKNOWN_VOLUME, subject=name)


def test_a_disk_that_was_left_is_adopted_and_its_vm_starts_from_it(scene: Scene) -> None:
    finding = left_disk(scene)
    assert findings.choices(finding) == (Choice.ADOPT, Choice.IGNORE, Choice.DELETE)
    before = volumes(scene)
    finding = choose(scene, finding, Choice.ADOPT, project=scene.project, name="found-1")
    assert finding.closed_because == "It was adopted.", finding.problem
    vm = VM.objects.get(name="found-1")
    assert (vm.state, vm.adopted, vm.host, vm.image.name) == (State.TERMINATED, False, scene.host, "small")
    assert (vm.disk_volume, vm.machine_type.is_default) == (finding.subject, True)
    born = Transition.objects.get(vm=vm)
    assert (born.from_state, born.to_state, born.action, born.user) == ("", "TERMINATED", "adopt", scene.owner)
    held = Reservation.objects.get(vm=vm)
    assert (held.host, held.vcpus, held.memory_mib, held.disk_gib) == (scene.host, 0, 0, vm.disks.get().size_gib)
    assert volumes(scene) == before
    assert look(scene).counts["unknown_volume"] == 0

    scene.finish(request_action(vm, Action.START, user=scene.owner))
    assert VM.objects.get(pk=vm.pk).state == State.RUNNING
    assert scene.proxy.look(vm.pk).power is Power.ON
    assert set(volumes(scene)) == {*before, vm.seed_volume}
    assert ours(look(scene)) == []


@pytest.mark.parametrize("owner_is", ["tombstone", "domain"])
def test_a_disk_whose_vm_was_deleted_or_is_still_there_is_not_adopted(scene: Scene, owner_is: str) -> None:
    finding = left_disk(scene)
    owner = UUID(finding.details["boot_of"])
    if owner_is == "tombstone":
        VM.objects.filter(pk=scene.vm_id).update(deleted_at=timezone.now())
        look(scene)
        finding = only(Kind.UNKNOWN_VOLUME, subject=f"{scene.vm_id}-boot.qcow2")
    else:
        spec = repair.spec_of(repair._with_all([scene.vm_id])[0])
        scene.proxy.define(replace(spec, uuid=owner, name=f"{spec.name}-x", disk_volume=finding.subject))
        look(scene)
        finding.refresh_from_db()
    assert findings.choices(finding) == (Choice.IGNORE, Choice.DELETE)


def test_a_disk_that_somebody_uses_is_not_adopted_and_says_by_whom(scene: Scene) -> None:
    finding = left_disk(scene)
    spec = repair.spec_of(repair._with_all([scene.vm_id])[0])
    scene.proxy.define(replace(spec, uuid=uuid4(), name=f"{spec.name}-x", disk_volume=finding.subject))
    finding = choose(scene, finding, Choice.ADOPT, project=scene.project, name="found-1")
    assert "in use by" in finding.problem
    assert not VM.objects.filter(name="found-1").exists()


def test_a_disk_that_stands_on_no_known_image_is_not_adopted(scene: Scene) -> None:
    finding = left_disk(scene)
    Image.objects.update(file_name="other.qcow2")
    finding = choose(scene, finding, Choice.ADOPT, project=scene.project, name="found-1")
    assert "stands on no image that is known" in finding.problem


def test_a_disk_is_adopted_within_the_quota(scene: Scene) -> None:
    finding = left_disk(scene)
    type(scene.project.quota).objects.update(disk_gib=1)
    finding = choose(scene, finding, Choice.ADOPT, project=scene.project, name="found-1")
    assert "quota of disk_gib" in finding.problem
    assert not VM.objects.filter(name="found-1").exists()


# -- domains of ours without a VM ------------------------------------------------------------------


def orphan(scene: Scene) -> Any:
    """A running domain with our mark of which the record knows nothing: a backup from before it was restored."""
    type(scene.project.quota).objects.update(disk_gib=5000)  # each disk of the test driver has 1 TiB
    type(scene.host).objects.update(disk_gib_total=5000)
    scene.bring_to(State.RUNNING)
    spec = repair.spec_of(repair._with_all([scene.vm_id])[0])
    scene.do(Action.DELETE)
    scene.proxy.define(replace(spec, uuid=uuid4(), name=f"{spec.name}-x"))
    (view,) = [v for v in scene.proxy.list_domains() if v.installation == scene.proxy.installation]
    scene.proxy.start(view.uuid)
    look(scene)
    return view.uuid


def test_an_orphan_is_adopted_with_its_size(scene: Scene, machine_type: Any) -> None:
    uuid = orphan(scene)
    finding = only(Kind.ORPHANED_DOMAIN)
    assert (finding.subject, finding.details["memory_mib"]) == (str(uuid), machine_type.memory_mib)
    finding = choose(scene, finding, Choice.ADOPT, project=scene.project, name="found-1")
    assert finding.closed_because == "It was adopted.", finding.problem
    vm = VM.objects.get(pk=uuid)
    assert (vm.name, vm.state, vm.adopted, vm.vcpus) == ("found-1", State.RUNNING, True, machine_type.vcpus)
    born = Transition.objects.get(vm=vm)
    assert (born.from_state, born.action, born.asked_by, born.user) == ("", "adopt", "operator", scene.owner)
    held = Reservation.objects.get(vm=vm)
    assert (held.host, held.vcpus, held.memory_mib) == (scene.host, vm.vcpus, vm.memory_mib)
    assert not vm.disks.filter(auto_delete=True).exists()
    assert look(scene).counts["orphaned_domain"] == 0


def test_an_orphan_is_switched_off_and_removed_after_its_quarantine(scene: Scene) -> None:
    uuid = orphan(scene)
    finding = choose(scene, only(Kind.ORPHANED_DOMAIN), Choice.DELETE)
    assert scene.proxy.look(uuid).power is Power.ON
    quarantine_is_over(finding)
    look(scene)
    assert scene.proxy.look(uuid) is None


def test_the_domain_of_a_deleted_vm_cannot_be_adopted(scene: Scene) -> None:
    operation = scene.ask(Action.CREATE)
    scene.finish(operation)
    VM.objects.filter(pk=scene.vm_id).update(deleted_at=timezone.now())
    look(scene)
    assert findings.choices(only(Kind.ORPHANED_DOMAIN)) == (Choice.IGNORE, Choice.DELETE)


@pytest.mark.parametrize("name", ["", "Not A Name"])
def test_an_adoption_needs_a_name(scene: Scene, name: str) -> None:
    orphan(scene)
    with pytest.raises(InvalidInput):
        findings.choose(only(Kind.ORPHANED_DOMAIN), Choice.ADOPT, scene.owner, project=scene.project, name=name)


def test_an_adoption_needs_a_project(scene: Scene) -> None:
    orphan(scene)
    with pytest.raises(InvalidInput, match="project"):
        findings.choose(only(Kind.ORPHANED_DOMAIN), Choice.ADOPT, scene.owner, name="found-1")


def test_an_adoption_over_the_quota_says_so_and_is_tried_again(scene: Scene) -> None:
    orphan(scene)
    quota = scene.project.quota
    type(quota).objects.update(vcpus=0)
    finding = choose(scene, only(Kind.ORPHANED_DOMAIN), Choice.ADOPT, project=scene.project, name="found-1")
    assert "quota of vcpus" in finding.problem
    assert not VM.objects.live().exists()
    type(quota).objects.update(vcpus=8)
    look(scene)
    assert VM.objects.live().get().name == "found-1"


def test_an_adoption_without_room_says_why(scene: Scene) -> None:
    orphan(scene)
    type(scene.host).objects.update(memory_mib_total=1024)
    finding = choose(scene, only(Kind.ORPHANED_DOMAIN), Choice.ADOPT, project=scene.project, name="found-1")
    assert "MiB of memory wanted, 0 free" in finding.problem


def test_an_adoption_under_a_name_that_was_taken_meanwhile_says_so(scene: Scene) -> None:
    orphan(scene)
    finding = only(Kind.ORPHANED_DOMAIN)
    findings.choose(finding, Choice.ADOPT, scene.owner, project=scene.project, name="web-1")
    scene.do(Action.CREATE)
    with pytest.raises(NameTaken):
        findings.choose(finding, Choice.ADOPT, scene.owner, project=scene.project, name="web-1")
    look(scene)
    finding.refresh_from_db()
    assert "already has a VM called web-1" in finding.problem


# -- what is missing -------------------------------------------------------------------------------


def lose(scene: Scene, *, domain: bool = False, disk: bool = False) -> Finding:
    """Something goes missing behind our back."""
    if domain:
        scene.proxy.discard_saved_memory(scene.vm_id)
        scene.proxy.destroy(scene.vm_id)
        scene.proxy.undefine(scene.vm_id)
    if disk:
        scene.proxy.remove_volume(Pool.DISKS, scene.vm.disk_volume)
    look(scene)
    return Finding.objects.get(vm=scene.vm_id, closed_at__isnull=True)


def test_a_missing_domain_alone_is_put_right_by_a_start(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    scene.proxy.destroy(scene.vm_id)
    scene.proxy.undefine(scene.vm_id)
    assert ours(look(scene)) == []
    assert scene.state is State.TERMINATED
    scene.do(Action.START)
    scene.assert_at_rest(State.RUNNING)


def test_a_vm_whose_disk_is_gone_is_made_anew_when_a_person_says_so(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    finding = lose(scene, domain=True, disk=True)
    assert (finding.kind, finding.details["data_lost"]) == (Kind.MISSING_DOMAIN, True)
    assert scene.finish(scene.ask(Action.START)).error is not None
    finding = choose(scene, finding, Choice.RECREATE)
    assert finding.closed_because == "It is made anew at the next start.", finding.problem
    scene.do(Action.START)
    scene.assert_at_rest(State.RUNNING)
    assert ours(look(scene)) == []


def test_a_lost_vm_says_so_and_is_no_finding_any_more(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    finding = choose(scene, lose(scene, disk=True), Choice.MARK_LOST)
    assert (finding.kind, finding.closed_because) == (Kind.MISSING_DISK, "The VM was declared lost.")
    vm = scene.vm
    assert (vm.state, vm.state_reason) == (State.TERMINATED, findings.LOST)
    assert vm.lost_at is not None
    assert ours(look(scene)) == []
    scene.do(Action.DELETE)


def test_a_vm_that_runs_is_not_declared_lost(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    finding = choose(scene, lose(scene, disk=True), Choice.MARK_LOST)
    assert "stop it first" in finding.problem
    assert scene.state is State.RUNNING


def test_a_suspended_vm_without_its_domain_starts_afresh_when_a_person_says_so(scene: Scene) -> None:
    scene.bring_to(State.SUSPENDED)
    finding = lose(scene, domain=True)
    assert finding.kind == Kind.MISSING_DOMAIN
    choose(scene, finding, Choice.RECREATE)
    last = Transition.objects.filter(vm=scene.vm_id).first()
    assert last is not None
    assert (scene.state, last.user, last.asked_by) == (State.TERMINATED, scene.owner, "operator")
    scene.do(Action.START)
    scene.assert_at_rest(State.RUNNING)


def test_a_suspended_vm_without_its_memory_is_a_missing_domain(scene: Scene) -> None:
    scene.bring_to(State.SUSPENDED)
    scene.proxy.discard_saved_memory(scene.vm_id)
    look(scene)
    assert only(Kind.MISSING_DOMAIN).text == "a suspended VM has lost its saved memory"


# -- contradictions --------------------------------------------------------------------------------


def test_a_vm_resumed_outside_is_running_when_a_person_accepts_it(scene: Scene) -> None:
    scene.bring_to(State.SUSPENDED)
    scene.proxy.start(scene.vm_id)
    look(scene)
    finding = choose(scene, only(Kind.STATE), Choice.ACCEPT)
    scene.finish(Operation.objects.get(vm=scene.vm_id, action=Action.RESUME))
    scene.assert_at_rest(State.RUNNING)
    look(scene)
    finding.refresh_from_db()
    assert finding.closed_because == findings.SETTLED


def test_a_vm_resumed_outside_is_suspended_again_when_a_person_says_so(scene: Scene) -> None:
    scene.bring_to(State.SUSPENDED)
    scene.proxy.start(scene.vm_id)
    look(scene)
    choose(scene, only(Kind.STATE), Choice.RESTORE)
    scene.assert_at_rest(State.SUSPENDED)


def test_saved_memory_of_a_stopped_vm_is_thrown_away_when_a_person_says_so(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    scene.proxy.start(scene.vm_id)
    scene.proxy.save_memory(scene.vm_id)
    look(scene)
    choose(scene, only(Kind.STATE), Choice.RESTORE)
    assert scene.power is Power.OFF
    assert ours(look(scene)) == []


# -- definitions -----------------------------------------------------------------------------------


def resize(scene: Scene, **sizes: Any) -> Finding:
    """Somebody changes the definition with virsh."""
    spec = repair.spec_of(repair._with_all([scene.vm_id])[0])
    scene.proxy.define(replace(spec, **sizes))
    look(scene)
    return only(Kind.CHANGED_DEFINITION, closed_at__isnull=True)


def test_a_size_changed_outside_is_taken_into_the_record(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    finding = resize(scene, vcpus=2, memory_mib=256)
    assert finding.details["changes"] == {
        "memory_mib": {"recorded": 128, "found": 256},
        "vcpus": {"recorded": 1, "found": 2},
    }
    finding = choose(scene, finding, Choice.ACCEPT)
    vm = scene.vm
    assert (vm.vcpus, vm.memory_mib, vm.machine_type.name, vm.definition) == (2, 256, "custom-2-256", None)
    scene.do(Action.START)
    scene.assert_at_rest(State.RUNNING)
    assert ours(look(scene)) == []


def test_a_size_changed_under_a_running_guest_is_within_quota_and_capacity(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    quota = scene.project.quota
    type(quota).objects.update(vcpus=1)
    finding = choose(scene, resize(scene, vcpus=2), Choice.ACCEPT)
    assert "quota of vcpus" in finding.problem
    type(quota).objects.update(vcpus=2)
    look(scene)
    scene.assert_at_rest(State.RUNNING)
    assert scene.vm.vcpus == 2


def test_a_changed_definition_is_put_back_at_once_when_the_vm_is_off(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    finding = choose(scene, resize(scene, memory_mib=512), Choice.RESTORE)
    assert finding.closed_because == "The record's definition was put back."
    assert scene.proxy.dissect(scene.vm_id).definition.memory_mib == 128


def test_a_changed_definition_of_a_running_guest_is_put_back_at_its_next_cold_start(scene: Scene) -> None:
    scene.bring_to(State.RUNNING)
    finding = choose(scene, resize(scene, memory_mib=512), Choice.RESTORE)
    assert (finding.closed_at, finding.problem) == (None, "")
    scene.do(Action.STOP)
    scene.do(Action.START)
    look(scene)
    finding.refresh_from_db()
    assert finding.closed_because == findings.SETTLED
    assert scene.vm.memory_mib == 128


def test_what_the_record_has_no_words_for_is_kept_over_starts(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    finding = resize(scene, mac="52:54:00:aa:bb:cc")
    assert set(finding.details["changes"]) == {"interfaces"}
    choose(scene, finding, Choice.ACCEPT)
    scene.do(Action.START)
    assert "52:54:00:aa:bb:cc" in str(scene.proxy.dissect(scene.vm_id).definition)
    assert ours(look(scene)) == []
    assert resize(scene, mac="52:54:00:dd:ee:ff").details["changes"]["interfaces"]["recorded"] != []


def test_a_definition_changed_again_after_the_choice_is_not_accepted(scene: Scene) -> None:
    scene.bring_to(State.TERMINATED)
    finding = resize(scene, memory_mib=256)
    findings.choose(finding, Choice.ACCEPT, scene.owner)
    spec = repair.spec_of(repair._with_all([scene.vm_id])[0])
    scene.proxy.at("definitions", lambda: scene.proxy.define(replace(spec, memory_mib=1024)), after=True, times=1)
    look(scene)
    finding.refresh_from_db()
    assert "changed once more" in finding.problem
    assert scene.vm.memory_mib == 128


# -- one trouble stops no other --------------------------------------------------------------------


def test_one_choice_that_fails_does_not_stop_the_next(scene: Scene, owner: User, project: Project) -> None:
    first, second = stray_volume(scene, "a.iso"), stray_volume(scene, "b.iso")
    for finding in (first, second):
        quarantine_is_over(findings.choose(finding, Choice.DELETE, owner))
    scene.proxy.fail("remove_volume", times=1)
    look(scene)
    first.refresh_from_db()
    assert first.problem
    assert volumes(scene) == ["a.iso"]
    look(scene)
    assert volumes(scene) == []


def test_a_host_that_does_not_answer_closes_nothing(scene: Scene) -> None:
    finding = stray_volume(scene)
    scene.proxy.fail("list_volumes")
    with pytest.raises(HypervisorError):
        look(scene)
    finding.refresh_from_db()
    assert finding.closed_at is None
