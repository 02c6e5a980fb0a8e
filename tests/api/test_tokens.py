"""Tokens: shown once, hashed, limited to projects, to reading, to a time and to a rate; 401, 403, 404, 405, 429."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.utils import timezone
from pytest_django import Settings

from lifecycle.domain.errors import InvalidInput, NotFound
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, ApiToken, AuditEntry, Project, User
from lifecycle.services import tokens
from tests import factories
from tests.api.conftest import INSTANCES, Program, Programs


def test_only_the_hash_is_kept(owner: User, project: Project) -> None:
    token, secret = tokens.create(owner, "laptop", [project], may_write=False)
    kept = ApiToken.objects.filter(pk=token.pk).values().get()
    assert secret not in str(kept)
    assert kept["token_sha256"] == hashlib.sha256(secret.encode()).hexdigest()
    assert tokens.find(secret) == token


@pytest.mark.parametrize(
    "change",
    [{"name": " "}, {"name": "x" * 61}, {"days": 0}, {"days": 367}, {"projects": []}],
)
def test_a_token_without_name_project_or_end_is_refused(
    change: dict[str, object], owner: User, project: Project
) -> None:
    wanted = {"name": "laptop", "projects": [project], "days": 30, **change}
    with pytest.raises(InvalidInput):
        tokens.create(owner, may_write=False, **wanted)  # type: ignore[arg-type]


def test_a_token_for_a_project_of_others_is_refused(stranger: User, project: Project) -> None:
    with pytest.raises(NotFound):
        tokens.create(stranger, "laptop", [project], may_write=True)


def test_one_revokes_ones_own_tokens_alone(owner: User, viewer: User, project: Project) -> None:
    token, secret = tokens.create(owner, "laptop", [project], may_write=False)
    with pytest.raises(NotFound):
        tokens.revoke(viewer, token.pk)
    assert tokens.find(secret)
    tokens.revoke(owner, token.pk)
    tokens.revoke(owner, token.pk)
    assert tokens.find(secret) is None


def test_nobody_and_nonsense_are_asked_who_they_are(program: Programs, vm: VM) -> None:
    for secret in ("", "nonsense", "vmp_" + "x" * 43):
        asking = Program(secret)
        asking("GET", INSTANCES)
        assert asking.status == 401
        assert asking.headers["WWW-Authenticate"].startswith("Bearer")


def test_revoked_expired_and_locked_out_are_nobody(api: Program, vm: VM, owner: User) -> None:
    token = ApiToken.objects.get()
    for change in ({"revoked_at": timezone.now()}, {"expires_at": timezone.now() - timedelta(seconds=1)}):
        ApiToken.objects.update(**change)
        api("GET", INSTANCES)
        assert api.status == 401
        ApiToken.objects.update(revoked_at=None, expires_at=token.expires_at)
    api("GET", INSTANCES)
    assert api.status == 200
    User.objects.filter(pk=owner.pk).update(is_active=False)
    api("GET", INSTANCES)
    assert api.status == 401


def test_a_token_that_reads_changes_nothing(program: Programs, owner: User, vm: VM) -> None:
    reading = program(owner, may_write=False)
    reading("GET", INSTANCES)
    assert reading.status == 200
    made = factories.make_operation(vm, Action.STOP)
    reading("POST", f"/zones/zone-a/operations/operation-{made.pk}/wait")
    assert reading.status == 200, "to wait changes nothing"
    answer = reading("POST", f"{INSTANCES}/web-1/stop")
    assert (reading.status, answer["error"]["errors"][0]["reason"]) == (403, "insufficientPermissions")


def test_a_token_opens_its_projects_alone(api: Program, owner: User, vm: VM) -> None:
    factories.make_project("other", owner=owner)
    api("GET", "projects/other/zones/zone-a/instances")
    assert api.status == 404


def test_a_member_who_left_is_a_stranger_with_the_same_token(
    api: Program, project: Project, owner: User, vm: VM
) -> None:
    project.memberships.filter(user=owner).delete()
    api("GET", INSTANCES)
    assert api.status == 404


def test_its_last_use_is_written(api: Program, vm: VM) -> None:
    assert ApiToken.objects.get().last_used_at is None
    api("GET", INSTANCES)
    seen = ApiToken.objects.get().last_used_at
    assert seen is not None
    api("GET", INSTANCES)
    assert ApiToken.objects.get().last_used_at == seen


@pytest.mark.parametrize("redis_url", ["", "unix:///nowhere/redis.sock"])
def test_who_asks_too_often_is_told_when_to_come_back(
    redis_url: str, api: Program, program: Programs, viewer: User, vm: VM, settings: Settings
) -> None:
    settings.API_CALLS_PER_MINUTE = 3
    settings.REDIS_URL = redis_url or settings.REDIS_URL
    statuses = []
    for _call in range(8):  # a minute may end among them
        api("GET", INSTANCES)
        statuses.append(api.status)
    assert statuses[:3] == [200] * 3
    assert 429 in statuses
    limited = api("GET", INSTANCES)
    while api.status != 429:
        limited = api("GET", INSTANCES)
    assert limited["error"]["errors"][0]["reason"] == "rateLimitExceeded"
    assert 1 <= int(api.headers["Retry-After"]) <= 60
    other = program(viewer)
    other("GET", INSTANCES)
    assert other.status == 200


def test_unknown_addresses_and_verbs_are_told_in_the_same_shape(api: Program, vm: VM) -> None:
    api("GET", "/zones/zone-a/gadgets")
    assert api.status == 404
    api("PUT", f"{INSTANCES}/web-1")
    assert api.status == 405
    assert api.headers["Allow"] == "DELETE, GET"


def test_a_body_that_is_no_object_is_refused(api: Program, vm: VM) -> None:
    bodies: tuple[object, ...] = ([], "text", 7)
    for body in bodies:
        api("POST", INSTANCES, body)
        assert api.status == 400


def test_the_portals_session_opens_nothing_here(owner: User, project: Project, vm: VM) -> None:
    asking = Program("")
    asking.client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    asking("GET", INSTANCES)
    assert asking.status == 401


def test_every_call_is_written_down_however_it_ends(api: Program, vm: VM, owner: User) -> None:
    before = AuditEntry.objects.filter(action="api.call").count()
    api("GET", f"{INSTANCES}/web-1")
    api("GET", f"{INSTANCES}/nothing")
    api("POST", f"{INSTANCES}/web-1/stop")
    calls = list(AuditEntry.objects.filter(action="api.call").order_by("pk"))[before:]
    assert [(call.target, call.details["status"]) for call in calls] == [
        ("instances.get", 200), ("instances.get", 404), ("instances.stop", 200)
    ]  # fmt: skip
    assert {(call.user, call.project, call.channel) for call in calls} == {(owner, vm.project, "api")}
    assert AuditEntry.objects.filter(action="vm.stop", channel="api").count() == 1
    assert api.secret not in str([call.details for call in calls])


def calls_written_down() -> list[tuple[str, int, str, User | None]]:
    entries = AuditEntry.objects.filter(action="api.call", channel="api").order_by("pk").select_related("user")
    return [(entry.target, entry.details["status"], entry.details.get("token", ""), entry.user) for entry in entries]


def test_of_calls_refused_at_the_door_the_first_in_a_minute_is_written_down(
    counted_anew: None, project: Project
) -> None:
    unknown = "vmp_" + "x" * 43
    with time_machine.travel(datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC), tick=False) as traveller:
        for _ in range(3):
            Program(unknown)("GET", INSTANCES)
        assert calls_written_down() == [("instances.list", 401, "", None)]
        traveller.shift(60)
        Program("")("GET", INSTANCES)
        assert calls_written_down()[1:] == [("instances.list", 401, "", None)]
        Program("")("GET", "projects/p/nothing/at/all")
        assert calls_written_down()[2:] == [("", 404, "", None)]
    assert unknown not in str(list(AuditEntry.objects.values_list("details", flat=True)))


def test_who_calls_what_is_not_there_or_too_often_is_named(
    counted_anew: None, api: Program, owner: User, vm: VM, settings: Settings
) -> None:
    beginning = ApiToken.objects.get(user=owner).beginning
    api("PUT", f"{INSTANCES}/web-1/start")
    assert calls_written_down() == [("", 405, beginning, owner)]
    settings.API_CALLS_PER_MINUTE = 0
    for _ in range(3):
        api("GET", f"{INSTANCES}/web-1")
    assert calls_written_down()[1:] == [("instances.get", 429, beginning, owner)]
