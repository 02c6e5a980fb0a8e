"""The flight recorder: everything of a VM in one order, paged without loss, linked to, and printed."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action, Asker
from lifecycle.models import (
    VM,
    ConfigChange,
    ConsoleSession,
    LibvirtEvent,
    OperationStep,
    Repair,
    RepairEntry,
    Transition,
    User,
)
from lifecycle.services import config_changes, observations, timeline, vm_changes, vm_details
from lifecycle.services.vms import set_deletion_protection
from tests import factories
from tests.web.conftest import Browser

PATH = "/projects/lab/vms/web-1/timeline/"
REPORT = "/projects/lab/vms/web-1/post-mortem/"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def transition(vm: VM, at: datetime, source: str = "RUNNING", target: str = "STOPPING") -> Transition:
    """A transition at a moment."""
    return Transition.objects.create(
        vm=vm,
        number=1,
        from_state=source,
        to_state=target,
        action=Action.STOP,
        asked_by=Asker.USER,
        occurred_at=at,
        reason="The guest shut itself down.",
    )


def event(vm: VM, at: datetime, kind: str = "stopped", detail: str = "failed") -> LibvirtEvent:
    """An event of libvirt at a moment."""
    return LibvirtEvent.objects.create(vm=vm, host=vm.host, kind=kind, detail=detail, occurred_at=at, recorded_at=at)


def repair(vm: VM, at: datetime) -> Repair:
    """A repair that lasted five minutes."""
    made = Repair.objects.create(
        vm=vm,
        host=vm.host,
        cause=Repair.Cause.PANIC,
        summary="The guest's kernel panicked.",
        prior_state=State.RUNNING,
        event="crashed panicked",
        serial_tail="Kernel panic - not syncing: <script>alert(1)</script>",
        opened_by=Asker.OBSERVER,
        opened_at=at,
        closed_at=at + timedelta(minutes=5),
        outcome=Repair.Outcome.RESTARTED,
        attempts=1,
    )
    RepairEntry.objects.create(repair=made, at=at, kind=RepairEntry.Kind.OPENED, asked_by=Asker.OBSERVER)
    RepairEntry.objects.create(
        repair=made, at=at + timedelta(minutes=5), kind=RepairEntry.Kind.CLOSED, asked_by=Asker.REPAIR
    )
    return made


def console(vm: VM, user: User, at: datetime) -> ConsoleSession:
    """A console somebody had open for a minute."""
    return ConsoleSession.objects.create(
        vm=vm,
        project=vm.project,
        user=user,
        kind="serial",
        address="192.0.2.7",
        opened_at=at,
        seen_at=at,
        closed_at=at + timedelta(minutes=1),
        ending="left",
    )


# -- the order -----------------------------------------------------------------------------------


def test_all_kinds_stand_in_one_order(vm: VM, owner: User) -> None:
    operation = factories.make_operation(vm, Action.STOP, steps=("ask_guest",), insert_time=NOON)
    OperationStep.objects.filter(operation=operation).update(started_at=NOON + timedelta(seconds=1))
    transition(vm, NOON + timedelta(seconds=2))
    event(vm, NOON + timedelta(seconds=3))
    repair(vm, NOON + timedelta(seconds=4))
    ConfigChange.objects.create(vm=vm, at=NOON + timedelta(seconds=5), asked_by=Asker.USER, changes={"vcpus": [1, 2]})
    console(vm, owner, NOON + timedelta(seconds=6))
    found = timeline.period(vm, NOON, NOON + timedelta(minutes=10))
    assert [m.kind for m in found] == [
        "operation",
        "step",
        "transition",
        "event",
        "repair",
        "config",
        "console",
        "repair",
    ]
    assert set(timeline.KINDS) == {m.kind for m in found}


def test_another_vms_moments_are_not_shown(vm: VM) -> None:
    other = factories.make_vm(vm.project, "other")
    transition(other, NOON)
    event(other, NOON)
    repair(other, NOON)
    assert timeline.period(vm, NOON - timedelta(hours=1), NOON + timedelta(hours=1)) == []


@pytest.fixture
def crowded(vm: VM) -> VM:
    """Many things, most of them at the same moment."""
    for second in (0, 0, 0, 1, 2, 2):
        at = NOON + timedelta(seconds=second)
        transition(vm, at)
        event(vm, at)
        event(vm, at, "suspended", "ioerror")
        ConfigChange.objects.create(vm=vm, at=at, asked_by=Asker.USER, changes={"vcpus": [1, 2]})
    repair(vm, NOON)
    return vm


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=25
)
@given(size=st.integers(1, 30), kinds=st.sets(st.sampled_from(timeline.KINDS), min_size=1))
def test_pages_show_each_moment_once_whatever_their_size(crowded: VM, size: int, kinds: set[str]) -> None:
    whole = timeline.page(crowded, kinds, size=1000).moments
    seen: list[timeline.Moment] = []
    cursor, pages = None, 0
    while True:
        page = timeline.page(crowded, kinds, before=cursor, size=size)
        seen += page.moments
        pages += 1
        if not page.older:
            break
        cursor = timeline.parse_cursor(page.older)
        assert cursor is not None
    assert [m.key for m in seen] == [m.key for m in whole]
    assert pages == max(1, -(-len(whole) // size))


def test_a_link_to_a_moment_begins_with_it(crowded: VM) -> None:
    for moment in timeline.page(crowded, size=1000).moments:
        page = timeline.page(crowded, at=timeline.parse_cursor(moment.key), size=3)
        assert page.moments[0].key == moment.key


@pytest.mark.parametrize("text", ["", "x", "1.event", "1.nothing.2", "9" * 30 + ".event.1", "-1.event.1", "1.event.٣"])
def test_what_is_no_place_is_none(text: str) -> None:
    assert timeline.parse_cursor(text) is None


# -- what is recorded ----------------------------------------------------------------------------


def test_a_change_of_settings_is_kept_with_both_sides_and_who(vm: VM, owner: User) -> None:
    set_deletion_protection(vm, True, user=owner)
    set_deletion_protection(vm, True, user=owner)
    [row] = ConfigChange.objects.filter(vm=vm)
    assert (row.changes, row.user, row.asked_by) == ({"deletion_protection": [False, True]}, owner, "user")


def test_of_a_text_that_may_hold_a_secret_the_length_alone_is_kept(vm: VM, owner: User) -> None:
    with config_changes.recorded(vm.pk, user=owner):
        VM.objects.filter(pk=vm.pk).update(user_data="password: hunter2", stop_grace_seconds=5)
    [row] = ConfigChange.objects.filter(vm=vm)
    assert row.changes == {
        "user_data": [{"characters": 0}, {"characters": 17}],
        "stop_grace_seconds": [90, 5],
    }


def test_an_event_of_a_domain_that_is_not_ours_is_not_kept(vm: VM) -> None:
    assert vm.host_id
    other = factories.make_host("elsewhere")
    assert observations.record_event(vm.host_id, vm.pk, "stopped", "destroyed", NOON)
    assert not observations.record_event(other.pk, vm.pk, "stopped", "destroyed", NOON)
    [row] = LibvirtEvent.objects.all()
    assert (row.vm, row.kind, row.detail, row.occurred_at) == (vm, "stopped", "destroyed", NOON)


# -- pages ---------------------------------------------------------------------------------------


def test_the_page_tells_all_kinds_and_escapes_what_the_guest_said(crowded: VM, as_owner: Client) -> None:
    text = as_owner.get(PATH).content.decode()
    for words in ("STOPPING", "<code>suspended ioerror</code>", "The guest shut itself down", "<del>1</del>"):
        assert words in text
    assert "Kernel panic - not syncing: &lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert " style=" not in text


def test_a_console_tells_who_had_it_open_from_where_and_until_when(vm: VM, owner: User, as_owner: Client) -> None:
    console(vm, owner, NOON)
    text = as_owner.get(PATH, {"kind": "console"}).content.decode()
    assert "olivia" in text
    assert "192.0.2.7" in text
    assert "12:01:00" in text
    assert "the browser left" in text


def test_filters_show_those_kinds_alone_and_stay_on_the_next_page(crowded: VM, as_owner: Client) -> None:
    for _ in range(timeline.PAGE):
        event(crowded, NOON)
    text = as_owner.get(PATH, {"kind": ["event", "repair", "nonsense"]}).content.decode()
    assert "flight--transition" not in text
    assert 'value="event" checked' in text
    older = re.search(r'href="([^"]*before=[^"]+)"', text)
    assert older is not None
    assert unescape(older[1]).endswith("&kind=event&kind=repair")
    assert "flight--event" in as_owner.get(unescape(older[1])).content.decode()


def test_every_moment_has_an_address_that_leads_to_it(crowded: VM, as_owner: Client) -> None:
    text = as_owner.get(PATH).content.decode()
    keys = re.findall(r'<li class="flight[^"]*" id="([^"]+)"', text)
    assert len(keys) == len(set(keys)) > 20
    page = as_owner.get(PATH, {"at": keys[-1]}).content.decode()
    assert f'flight--marked" id="{keys[-1]}"' in page


def test_a_post_mortem_of_a_repair_has_what_led_to_it_and_what_followed(vm: VM, as_owner: Client) -> None:
    made = repair(vm, NOON)
    event(vm, NOON - timedelta(minutes=9), "resumed", "unpaused")
    event(vm, NOON - timedelta(minutes=11), "watchdog", "none")
    text = as_owner.get(REPORT, {"repair": made.pk}).content.decode()
    assert "<code>resumed unpaused</code>" in text
    assert "watchdog" not in text
    assert "Kernel panic - not syncing" in text
    assert text.index("resumed unpaused") < text.index("Kernel panic"), "the first first"
    assert 'class="panel report"' in text


def test_a_post_mortem_of_a_period(vm: VM, as_owner: Client) -> None:
    event(vm, NOON)
    text = as_owner.get(REPORT, {"from": "2026-03-01T11:00", "to": "2026-03-01T13:00"}).content.decode()
    assert "<code>stopped failed</code>" in text
    empty = as_owner.get(REPORT, {"from": "2026-03-01T11:00", "to": "2026-03-01T11:30"}).content.decode()
    assert "Nothing happened in this period" in empty


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({}, "Give the beginning and the end"),
        ({"from": "yesterday", "to": "2026-03-01T13:00"}, "Give the beginning and the end"),
        ({"from": "2026-03-01T99:00", "to": "2026-03-01T13:00"}, "Give the beginning and the end"),
        ({"from": "2026-03-01T13:00", "to": "2026-03-01T12:00"}, "The end must be after the beginning"),
        ({"from": "2025-03-01T13:00", "to": "2026-03-01T12:00"}, "31 days at most"),
    ],
)
def test_a_bad_period_is_refused_with_what_to_do(vm: VM, as_owner: Client, query: dict[str, str], words: str) -> None:
    answer = as_owner.get(REPORT, query)
    assert answer.status_code == 400
    assert words in answer.content.decode()


def test_a_repair_of_another_vm_is_not_found(vm: VM, as_owner: Client) -> None:
    other = repair(factories.make_vm(vm.project, "other"), NOON)
    for number in (other.pk, "0", "x", "9" * 20):
        assert as_owner.get(REPORT, {"repair": number}).status_code == 404


def test_the_history_of_a_deleted_vm_is_kept(vm: VM, as_owner: Client) -> None:
    event(vm, NOON)
    VM.objects.filter(pk=vm.pk).update(deleted_at=timezone.now(), state=State.TERMINATED)
    assert "stopped failed" in as_owner.get(PATH).content.decode()
    assert as_owner.get(REPORT, {"from": "2026-03-01T11:00", "to": "2026-03-01T13:00"}).status_code == 200


def test_members_read_it_and_a_stranger_does_not(
    vm: VM, browser: Browser, owner: User, viewer: User, stranger: User
) -> None:
    made = repair(vm, NOON)
    for path in (PATH, f"{REPORT}?repair={made.pk}"):
        assert [browser(user).get(path).status_code for user in (owner, viewer)] == [200, 200]
        assert browser(stranger).get(path).status_code == 404
        assert browser(None).get(path).status_code == 302


def test_labels_and_notes_are_settings_too(vm: VM, owner: User, as_owner: Client) -> None:
    vm_details.set_labels(vm, {"env": "test"}, user=owner)
    vm_details.set_labels(vm, {"env": "prod"}, user=owner)
    vm_details.set_notes(vm, "Ask Olivia first.", user=owner)
    assert [list(row.changes) for row in ConfigChange.objects.filter(vm=vm).order_by("pk")] == [
        ["labels"], ["labels"], ["notes"],
    ]  # fmt: skip
    text = as_owner.get(PATH, {"kind": "config"}).content.decode()
    assert "<del>env=test</del>" in text
    assert "<ins>env=prod</ins>" in text
    assert "<ins>Ask Olivia first.</ins>" in text


def test_a_change_through_the_api_is_kept_with_its_difference(vm: VM, owner: User) -> None:
    vm_changes.set_scheduling(vm, automatic_restart=False, host_error_timeout_seconds=120, user=owner)
    [row] = ConfigChange.objects.filter(vm=vm)
    assert row.changes == {"automatic_restart": [True, False], "host_error_timeout_seconds": [90, 120]}
