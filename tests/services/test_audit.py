"""The audit log: who did what, to what, when and from where; and what people write on a VM."""

import pytest
from django.db import transaction

from lifecycle.domain import vm_labels
from lifecycle.domain.errors import Forbidden, InvalidInput, NotFound, StateConflict
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, AuditEntry, Event, Host, Project, User
from lifecycle.services import audit, projects, vm_details
from lifecycle.services.audit import Channel, Origin, coming_from
from lifecycle.services.vms import VMRequest, request_action, request_create, set_deletion_protection
from tests import factories

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]


@pytest.fixture
def vm(project: Project, host: Host, catalog: None) -> VM:
    return factories.make_vm(project, "web-1", host=host)


def actions() -> list[str]:
    return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


def test_an_entry_says_who_what_and_from_where(project: Project, owner: User) -> None:
    with coming_from(Origin(Channel.API, "192.0.2.7", "gcloud")):
        audit.record("vm.start", project=project, user=owner, target="web-1", details={"x": 1})
    entry = AuditEntry.objects.get()
    assert (entry.who, entry.project_name, entry.target) == ("olivia", "lab", "web-1")
    assert (entry.channel, entry.ip, entry.agent, entry.details) == ("api", "192.0.2.7", "gcloud", {"x": 1})
    audit.record("vm.start")
    assert AuditEntry.objects.first().channel == "system"  # type: ignore[union-attr]


def test_an_entry_stands_exactly_when_its_change_does(project: Project, owner: User) -> None:
    with transaction.atomic():
        audit.record("vm.start", project=project, user=owner)
        transaction.set_rollback(True)
    assert actions() == []


def test_an_entry_outlives_the_account_it_names(project: Project, operator: User) -> None:
    audit.record("vm.start", project=project, user=operator, target="web-1")
    operator.delete()
    entry = AuditEntry.objects.get()
    assert (entry.user, entry.who) == (None, "otto")


def test_what_people_ask_of_vms_is_recorded(project: Project, vm: VM, owner: User) -> None:
    set_deletion_protection(vm, False, user=owner)
    request_action(vm, Action.SUSPEND, user=owner)
    request_create(project, VMRequest("web-2", labels={"env": "prod"}), user=owner)
    assert actions() == ["vm.protection", "vm.suspend", "vm.create"]
    assert VM.objects.get(name="web-2").label_text == "\nenv=prod\n"


def test_what_is_refused_is_not_recorded(vm: VM, viewer: User) -> None:
    with pytest.raises(Forbidden):
        request_action(vm, Action.STOP, user=viewer)
    assert actions() == []


def test_what_happens_to_members_is_recorded(project: Project, owner: User, operator: User, stranger: User) -> None:
    _invitation, token = projects.invite(project, "steve@example.org", "viewer", user=owner)
    projects.accept_invitation(token, user=stranger)
    projects.set_role(project, operator, "viewer", user=owner)
    projects.remove_member(project, stranger, user=owner)
    second, _token = projects.invite(project, "x@example.org", "viewer", user=owner)
    projects.revoke_invitation(project, second.pk, user=owner)
    found = ["member.invite", "member.join", "member.role", "member.remove", "member.invite", "member.revoke"]
    assert actions() == found
    assert not AuditEntry.objects.filter(details__icontains=token).exists()


def test_owners_see_their_projects_and_operators_all(
    project: Project, owner: User, operator: User, viewer: User, stranger: User, superuser: User
) -> None:
    elsewhere = Project.objects.get(slug="elsewhere")
    audit.record("vm.start", project=project)
    audit.record("vm.start", project=elsewhere)
    audit.record("user.login")
    seen = {user.username: AuditEntry.objects.visible_to(user).count() for user in User.objects.all()}
    assert seen == {"olivia": 1, "otto": 0, "vera": 0, "steve": 1, "ada": 3}


# -- labels and notes ----------------------------------------------------------------------------


def test_labels_are_kept_told_and_recorded(vm: VM, owner: User) -> None:
    vm_details.set_labels(vm, {"team": "red", "env": "prod"}, user=owner)
    found = VM.objects.get(pk=vm.pk)
    assert found.labels == {"env": "prod", "team": "red"}
    assert found.label_text == "\nenv=prod\nteam=red\n"
    assert AuditEntry.objects.get().details == {"before": {}, "after": {"env": "prod", "team": "red"}}
    assert Event.objects.filter(project=vm.project).count() == 1


def test_the_same_labels_again_change_nothing(vm: VM, owner: User) -> None:
    for _time in range(2):
        vm_details.set_labels(vm, {"env": "prod"}, user=owner)
    assert actions() == ["vm.labels"]


def test_an_old_fingerprint_overwrites_nothing(vm: VM, owner: User) -> None:
    read = vm_labels.fingerprint(vm.labels)
    vm_details.set_labels(vm, {"env": "prod"}, user=owner, fingerprint=read)
    with pytest.raises(StateConflict):
        vm_details.set_labels(vm, {"env": "test"}, user=owner, fingerprint=read)
    assert VM.objects.get(pk=vm.pk).labels == {"env": "prod"}


def test_notes_are_bounded(vm: VM, owner: User) -> None:
    vm_details.set_notes(vm, "  The mail\r\nserver\0 ", user=owner)
    assert VM.objects.get(pk=vm.pk).notes == "The mail\nserver"
    with pytest.raises(InvalidInput):
        vm_details.set_notes(vm, "x" * 4001, user=owner)


def test_viewers_and_strangers_write_nothing_on_a_vm(vm: VM, viewer: User, stranger: User) -> None:
    with pytest.raises(Forbidden):
        vm_details.set_notes(vm, "x", user=viewer)
    with pytest.raises(NotFound):
        vm_details.set_labels(vm, {"a": "b"}, user=stranger)
