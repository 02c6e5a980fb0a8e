"""Kept SSH keys: who may keep them, which of them a VM's seed carries, and the host keys that guests print."""

import pytest

from lifecycle.domain.errors import Forbidden, InvalidInput, NameTaken, NotFound
from lifecycle.domain.guests import MAX_KEYS
from lifecycle.domain.states import State
from lifecycle.models import VM, Event, Host, Membership, Project, SSHKey, User
from lifecycle.services import keys, observations
from lifecycle.services.vms import VMRequest, request_create
from tests import factories
from tests.services.tools import refusal

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db, pytest.mark.usefixtures("catalog")]

BLOCK = (
    "-----BEGIN SSH HOST KEY FINGERPRINTS-----\n256 SHA256:{} root@x (ED25519)\n"
    "-----END SSH HOST KEY FINGERPRINTS-----\n"
)


@pytest.fixture
def vm(project: Project, host: Host) -> VM:
    return factories.make_vm(project, "web-1", State.TERMINATED, host=host)


def test_a_key_is_named_by_its_comment(owner: User) -> None:
    key = keys.add_user_key(owner, factories.make_public_key("me@laptop") + "\n")
    assert (key.name, key.user, key.project) == ("me@laptop", owner, None)


def test_a_key_is_kept_once_a_person_and_once_a_project(project: Project, owner: User, operator: User) -> None:
    line = factories.make_public_key()
    keys.add_user_key(owner, line)
    keys.add_user_key(operator, line)
    keys.add_project_key(project, line, user=owner)
    with refusal(NameTaken):
        keys.add_user_key(owner, line)
    with refusal(NameTaken):
        keys.add_project_key(project, line, user=operator)


def test_keys_have_an_end(owner: User) -> None:
    for _ in range(MAX_KEYS):
        keys.add_user_key(owner, factories.make_public_key())
    with refusal(InvalidInput, "At most 50"):
        keys.add_user_key(owner, factories.make_public_key())


def test_a_viewer_and_a_stranger_add_no_key_to_a_project(project: Project, viewer: User, stranger: User) -> None:
    with refusal(Forbidden):
        keys.add_project_key(project, factories.make_public_key(), user=viewer)
    with refusal(NotFound):
        keys.add_project_key(project, factories.make_public_key(), user=stranger)


def test_nobody_forgets_the_key_of_another(project: Project, owner: User, operator: User, viewer: User) -> None:
    mine, shared = (
        keys.add_user_key(owner, factories.make_public_key()),
        keys.add_project_key(project, factories.make_public_key(), user=owner),
    )
    with refusal(NotFound):
        keys.remove_user_key(operator, mine.pk)
    with refusal(NotFound):
        keys.remove_user_key(owner, shared.pk)
    with refusal(Forbidden):
        keys.remove_project_key(project, shared.pk, user=viewer)
    with refusal(NotFound):
        keys.remove_project_key(project, mine.pk, user=owner)
    keys.remove_project_key(project, shared.pk, user=operator)
    assert list(SSHKey.objects.all()) == [mine]


# -- what a seed carries -------------------------------------------------------------------------


def test_a_new_vm_carries_its_own_its_persons_and_its_projects_keys(project: Project, owner: User) -> None:
    own, personal, shared = (factories.make_public_key(name) for name in ("own", "personal", "shared"))
    keys.add_user_key(owner, personal)
    keys.add_project_key(project, shared, user=owner)
    vm_id = request_create(project, VMRequest("web-1", ssh_keys=own, use_my_keys=True), user=owner).vm_id
    assert keys.seed_keys(VM.objects.get(pk=vm_id)).splitlines() == [own, personal, shared]


def test_who_chooses_no_kept_key_gets_none(project: Project, owner: User) -> None:
    keys.add_user_key(owner, factories.make_public_key())
    keys.add_project_key(project, factories.make_public_key(), user=owner)
    vm_id = request_create(project, VMRequest("web-1", use_project_keys=False), user=owner).vm_id
    assert keys.seed_keys(VM.objects.get(pk=vm_id)) == ""


def test_a_key_that_comes_or_goes_later_counts_at_the_next_start(project: Project, vm: VM, owner: User) -> None:
    key = keys.add_project_key(project, factories.make_public_key(), user=owner)
    assert keys.seed_keys(vm) == key.key
    keys.remove_project_key(project, key.pk, user=owner)
    assert keys.seed_keys(vm) == ""


def test_somebody_who_left_gets_in_no_more(project: Project, vm: VM, operator: User) -> None:
    keys.add_user_key(operator, factories.make_public_key())
    keys.choose_keys(vm, project_keys=True, my_keys=True, user=operator)
    assert keys.seed_keys(vm)
    Membership.objects.filter(user=operator).delete()
    assert keys.seed_keys(vm) == ""


def test_somebody_who_was_switched_off_gets_in_no_more(vm: VM, operator: User) -> None:
    keys.add_user_key(operator, factories.make_public_key())
    keys.choose_keys(vm, project_keys=True, my_keys=True, user=operator)
    User.objects.filter(pk=operator.pk).update(is_active=False)
    assert keys.seed_keys(vm) == ""


def test_a_chosen_key_can_be_taken_out_again(project: Project, vm: VM, operator: User) -> None:
    keys.add_user_key(operator, factories.make_public_key())
    keys.add_project_key(project, factories.make_public_key(), user=operator)
    keys.choose_keys(vm, project_keys=True, my_keys=True, user=operator)
    keys.choose_keys(vm, project_keys=False, my_keys=False, user=operator)
    vm.refresh_from_db()
    assert keys.seed_keys(vm) == ""


def test_a_viewer_chooses_no_keys(vm: VM, viewer: User, stranger: User) -> None:
    with refusal(Forbidden):
        keys.choose_keys(vm, project_keys=True, my_keys=True, user=viewer)
    with refusal(NotFound):
        keys.choose_keys(vm, project_keys=True, my_keys=True, user=stranger)


# -- host keys -----------------------------------------------------------------------------------


def test_host_keys_are_read_from_what_the_guest_prints_and_told(vm: VM) -> None:
    before = Event.objects.count()
    observations.append_serial(vm.id, "boot\n" + BLOCK.format("a" * 43), read_from=0, read_to=10)
    vm.refresh_from_db()
    assert vm.host_keys == [{"bits": 256, "fingerprint": "SHA256:" + "a" * 43, "kind": "ED25519"}]
    assert vm.host_keys_seen_at is not None
    assert Event.objects.count() == before + 1


def test_a_block_that_comes_in_two_pieces_is_read(vm: VM) -> None:
    block = BLOCK.format("a" * 43)
    observations.append_serial(vm.id, block[:70], read_from=0, read_to=70)
    vm.refresh_from_db()
    assert vm.host_keys is None
    observations.append_serial(vm.id, block[70:], read_from=70, read_to=len(block))
    vm.refresh_from_db()
    assert vm.host_keys


def test_the_same_keys_again_are_no_news_and_others_are(vm: VM) -> None:
    observations.append_serial(vm.id, BLOCK.format("a" * 43), read_from=0, read_to=1)
    told = Event.objects.count()
    observations.append_serial(vm.id, BLOCK.format("a" * 43), read_from=1, read_to=2)
    assert Event.objects.count() == told
    observations.append_serial(vm.id, BLOCK.format("b" * 43), read_from=2, read_to=3)
    assert Event.objects.count() == told + 1
