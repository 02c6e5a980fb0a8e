"""Findings under two processes at once, and what an adoption writes, on both databases."""

from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest
from django.utils import timezone

from lifecycle.domain.definitions import Definition
from lifecycle.domain.errors import DomainError, InvalidInput, ResourcePoolExhausted
from lifecycle.domain.findings import Choice, Kind, Sighting
from lifecycle.domain.states import Power, State
from lifecycle.models import VM, Finding, Host, Image, Operation, Project, Reservation, Transition, User
from lifecycle.services import adoption, findings, operators
from lifecycle.services.adoption import Adoptee
from tests import factories
from tests.services.tools import at_once, refusal

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db(transaction=True)]

MAC = "52:54:00:aa:00:01"


def adoptee(power: Power = Power.ON, *, memory_mib: int = 512, mac: str = MAC, persistent: bool = True) -> Adoptee:
    """A domain with a disk of 10 GiB and a bit."""
    shape = Definition(2, memory_mib, None, (("vda", "/data/theirs.qcow2"),), ((mac, "br0", ""),), ("hd",))
    sizes = {"vda": 10 * 2**30 + 1}
    return Adoptee(uuid4(), "x86_64", persistent, power, 7, shape, sizes, timezone.now())


def chosen(host: Host, project: Project, user: User, name: str = "found-1") -> Finding:
    """A foreign domain that is to be adopted."""
    sighting = Sighting(Kind.FOREIGN_DOMAIN, str(uuid4()), "a domain", {"name": "theirs"})
    findings.record(host.pk, [sighting], (), timezone.now())
    return findings.choose(
        Finding.objects.get(subject=sighting.subject), Choice.ADOPT, user, project=project, name=name
    )


def test_two_reconcilers_open_a_finding_once(host: Host) -> None:
    seen = [Sighting(Kind.UNKNOWN_VOLUME, f"{n}.iso", "a volume") for n in range(5)]
    record = partial(findings.record, host.pk, seen, (), timezone.now())
    assert not [answer for answer in at_once([record] * 4) if isinstance(answer, Exception)]
    assert sorted(Finding.objects.values_list("subject", flat=True)) == [f"{n}.iso" for n in range(5)]


def test_a_domain_is_adopted_once(host: Host, project: Project, superuser: User) -> None:
    adopt = partial(adoption.adopt, chosen(host, project, superuser), adoptee())
    answers = at_once([adopt] * 3)
    assert all(isinstance(answer, VM) for answer in answers), answers
    assert VM.objects.count() == Operation.objects.count() == Transition.objects.count() == 1


def test_an_adopted_vm_is_written_as_it_is_found(host: Host, project: Project, superuser: User) -> None:
    found = adoptee()
    vm = adoption.adopt(chosen(host, project, superuser), found)
    assert (vm.pk, vm.state, vm.power, vm.run_id, vm.mac) == (found.uuid, State.RUNNING, Power.ON, 7, MAC)
    assert (vm.vcpus, vm.memory_mib, vm.machine_type.name, vm.zone) == (2, 512, "custom-2-512", host.zone)
    held = Reservation.objects.get(vm=vm)
    assert (held.vcpus, held.memory_mib, held.disk_gib) == (2, 512, 11)
    host.refresh_from_db()
    assert (host.vcpus_reserved, host.memory_mib_reserved, host.disk_gib_reserved) == (2, 512, 11)
    born = Transition.objects.get(vm=vm)
    assert (born.from_state, born.to_state, born.action, born.user) == ("", "RUNNING", "adopt", superuser)


def test_a_stopped_domain_holds_its_disks_only(host: Host, project: Project, superuser: User) -> None:
    vm = adoption.adopt(chosen(host, project, superuser), adoptee(Power.OFF))
    held = Reservation.objects.get(vm=vm)
    assert (vm.state, held.vcpus, held.memory_mib, held.disk_gib) == (State.TERMINATED, 0, 0, 11)


@pytest.mark.parametrize(
    ("found", "error", "match"),
    [
        (adoptee(Power.SAVED), InvalidInput, "saved memory"),
        (adoptee(persistent=False), InvalidInput, "Define it on its host first"),
        (adoptee(memory_mib=32), InvalidInput, "less memory"),
        (adoptee(memory_mib=60 * 1024), ResourcePoolExhausted, "room"),
    ],
)
def test_what_cannot_be_adopted_is_refused_and_nothing_is_written(
    host: Host, project: Project, superuser: User, found: Adoptee, error: type[DomainError], match: str
) -> None:
    finding = chosen(host, project, superuser)
    with refusal(error, match):
        adoption.adopt(finding, found)


def test_a_mac_that_another_vm_has_is_refused(host: Host, project: Project, superuser: User) -> None:
    factories.make_vm(project, mac=MAC)
    finding = chosen(host, project, superuser)
    with refusal(InvalidInput, MAC):
        adoption.adopt(finding, adoptee())


def test_a_withdrawn_adoption_does_not_happen(host: Host, project: Project, superuser: User) -> None:
    finding = chosen(host, project, superuser)
    findings.withdraw(finding, superuser)
    with refusal(DomainError, "changed meanwhile"):
        adoption.adopt(finding, adoptee())
    assert not findings.settle(finding, "adopted")


def test_the_row_that_stands_for_no_image_cannot_be_offered(host: Host, project: Project, superuser: User) -> None:
    image = adoption.adopt(chosen(host, project, superuser), adoptee()).image
    assert image.status == Image.Status.DEPRECATED
    assert not operators.set_deprecated(image, False)


def test_a_deletion_is_due_after_its_quarantine_only(host: Host, superuser: User) -> None:
    findings.record(host.pk, [Sighting(Kind.UNKNOWN_VOLUME, "a.iso", "a volume")], (), timezone.now())
    finding = findings.choose(Finding.objects.get(), Choice.DELETE, superuser)
    assert findings.due(host.pk, [Kind.UNKNOWN_VOLUME]) == []
    assert not findings.still_chosen(finding)
    Finding.objects.update(due_at=timezone.now() - timedelta(seconds=1))
    assert findings.due(host.pk, [Kind.UNKNOWN_VOLUME]) == [finding]
    assert findings.still_chosen(finding)
    findings.withdraw(finding, superuser)
    assert not findings.still_chosen(finding)
