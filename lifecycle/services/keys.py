"""SSH keys of people and projects, which of them a VM's seed carries, and the host keys that guests print."""

from dataclasses import asdict
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from lifecycle.domain.access import Right
from lifecycle.domain.errors import InvalidInput, NameTaken, NotFound
from lifecycle.domain.guests import MAX_KEYS
from lifecycle.domain.keys import check_key_name, joined, parse_public_key, read_host_keys
from lifecycle.models import VM, Project, SSHKey, User
from lifecycle.realtime import publish
from lifecycle.services import config_changes
from lifecycle.services.access import require
from lifecycle.services.db import lock_project, lock_project_of, service


@service
def add_user_key(user: User, text: str, name: str = "") -> SSHKey:
    """Keep a key of a person's own.

    Raises:
        InvalidInput: it is no public key, or there are too many. NameTaken: it is kept already.
    """
    User.objects.select_for_update().get(pk=user.pk)
    return _add(SSHKey(user=user, added_by=user), text, name)


@service
def add_project_key(project: Project, text: str, name: str = "", *, user: User) -> SSHKey:
    """Keep a key for all VMs of a project. Raises as `add_user_key`; Forbidden or NotFound by role."""
    project = lock_project(project.pk)
    _check_may_use(project, user)
    return _add(SSHKey(project=project, added_by=user), text, name)


@service
def remove_user_key(user: User, key_id: int) -> SSHKey:
    """Forget a key of one's own. VMs lose it at their next start."""
    return _remove(SSHKey.objects.filter(user=user, pk=key_id))


@service
def remove_project_key(project: Project, key_id: int, *, user: User) -> SSHKey:
    """Forget a key of a project. VMs lose it at their next start."""
    project = lock_project(project.pk)
    _check_may_use(project, user)
    return _remove(SSHKey.objects.filter(project=project, pk=key_id))


@service
def remove_as_operator(key: SSHKey) -> SSHKey:
    """Forget anybody's key; the caller checked that an operator asks. VMs lose it at their next start.

    Raises NotFound when it is gone already.
    """
    return _remove(SSHKey.objects.filter(pk=key.pk))


def seed_keys(vm: VM) -> str:
    """The keys that the VM's seed carries now, one a line: its own, its project's, and those of its people.

    Somebody who is no member of the project any more gets in no more from the next start on.
    """
    kept = Q(user__in=vm.key_people.all(), user__memberships__project=vm.project_id, user__is_active=True)
    kept |= Q(user__in=vm.key_people.all(), user__is_superuser=True, user__is_active=True)
    if vm.use_project_keys:
        kept |= Q(project=vm.project_id)
    return joined(vm.ssh_keys, *SSHKey.objects.filter(kept).distinct().order_by("pk").values_list("key", flat=True))


@service
def choose_keys(vm: VM, *, project_keys: bool, my_keys: bool, user: User) -> None:
    """Which kept keys the VM's seed carries from its next start on: the project's, and those of `user`."""
    project = lock_project(vm.project_id)
    _check_may_use(project, user)
    found = VM.objects.live().filter(pk=vm.pk).first()
    if found is None:
        raise NotFound("The VM %(name)s does not exist any more.", name=vm.name)
    with config_changes.recorded(found.pk, user=user):
        VM.objects.filter(pk=found.pk).update(use_project_keys=project_keys)
    if my_keys:
        found.key_people.add(user)
    else:
        found.key_people.remove(user)
    publish.vm_changed(found.pk)


def note_host_keys(vm_id: UUID, printed: str) -> bool:
    """Keep the host keys in what a guest printed, if it printed them. True when they are others than before.

    The caller is in a transaction.
    """
    keys = [asdict(key) for key in read_host_keys(printed)]
    if not keys or lock_project_of(vm_id) is None:
        return False
    vm = VM.objects.live().filter(pk=vm_id).only("host_keys").first()
    if vm is None:
        return False
    changed = vm.host_keys != keys
    VM.objects.filter(pk=vm_id).update(host_keys=keys, host_keys_seen_at=timezone.now())
    if changed:
        publish.vm_changed(vm_id)
    return changed


def _add(row: SSHKey, text: str, name: str) -> SSHKey:
    key = parse_public_key(text)
    mine = SSHKey.objects.filter(user=row.user_id, project=row.project_id)
    if mine.count() >= MAX_KEYS:
        raise InvalidInput("At most %(most)s SSH keys are possible.", field="key", most=MAX_KEYS)
    row.name = check_key_name(name) or key.comment[:60] or key.kind
    row.key, row.fingerprint = key.line, key.fingerprint
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError:
        raise NameTaken("This key is kept already: %(value)s.", field="key", value=key.fingerprint) from None
    return row


def _remove(rows: QuerySet[SSHKey]) -> SSHKey:
    found = rows.first()
    if found is None:
        raise NotFound("This SSH key is not there any more.")
    rows.delete()
    return found


def _check_may_use(project: Project, user: User) -> None:
    require(project, user, Right.USE_VMS)
