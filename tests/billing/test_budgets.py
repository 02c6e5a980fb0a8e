"""Budgets: told once a threshold and month, obeyed, and their messages; by the amounts of the invoices."""

import base64
import hashlib
import hmac
import ipaddress
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.core import mail
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from lifecycle import tasks, webhooks
from lifecycle.billing import budgets as rounds
from lifecycle.billing import costs
from lifecycle.domain import budgets as rules
from lifecycle.domain.errors import BudgetExceeded, Forbidden, InvalidInput, NotFound
from lifecycle.domain.pricing import Item
from lifecycle.domain.states import State
from lifecycle.domain.transitions import Action
from lifecycle.models import VM, AuditEntry, Budget, BudgetAlert, Host, Notification, Operation, Project, User
from lifecycle.repair import notices
from lifecycle.services import budgets, operations, prices
from lifecycle.services.budgets import Wish
from lifecycle.services.vms import VMRequest, request_create
from tests import factories
from tests.alerts.receivers import Webhook, webhook
from tests.billing.tools import price_list, vm_born
from tests.services.tools import no_change, refusal

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]

MARCH = datetime(2026, 3, 1, tzinfo=UTC)
TENTH = Decimal(10)


def march(day: int, hour: float = 0) -> datetime:
    return MARCH + timedelta(days=day - 1, hours=hour)


@pytest.fixture
def vm(project: Project, host: Host, catalog: None) -> VM:
    """Runs from the first of March; costs 1.00 an hour, which is 24.00 a day."""
    price_list([(Item.VCPU, "1")])
    return vm_born(project, MARCH, "web-1")


def wish(**changes: object) -> Wish:
    return Wish(**{"name": "all", "amount": Decimal(240), **changes})  # type: ignore[arg-type]


def made(project: Project, owner: User, **changes: object) -> Budget:
    return budgets.save(project, wish(**changes), user=owner)[0]


def look(at: datetime) -> rounds.Done:
    with time_machine.travel(at, tick=False):
        return rounds.look()


def told() -> list[tuple[str, int]]:
    return list(BudgetAlert.objects.order_by("pk").values_list("about", "percent"))


# -- the rules -----------------------------------------------------------------------------------


@given(st.decimals(0, 10**6, places=2), st.decimals("0.01", 10**6, places=2), st.integers(1, 1000))
def test_a_threshold_is_reached_exactly_when_so_much_is_spent(spent: Decimal, amount: Decimal, percent: int) -> None:
    assert rules.reaches(spent, amount, percent) == (spent >= amount * percent / 100)
    assert rules.percent_spent(spent, amount) <= spent * 100 / amount < rules.percent_spent(spent, amount) + 1


@pytest.mark.parametrize(("text", "found"), [("50, 90,100", [50, 90, 100]), ("100 % 50 50", [50, 100]), ("7", [7])])
def test_thresholds_are_read(text: str, found: list[int]) -> None:
    assert rules.parse_thresholds(text) == found


@pytest.mark.parametrize("text", ["", "x", "-5", "0", "1001", "5.5", "1 2 3 4 5 6 7 8 9 10 11", "²"])
def test_what_is_no_threshold_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        rules.parse_thresholds(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": Decimal(0)}, {"amount": Decimal("NaN")}, {"amount": Decimal(-1)}, {"name": " "}, {"name": "x" * 61},
        {"thresholds": ()}, {"forbid_at": 0}, {"suspend_at": 1001}, {"notice_hours": 0}, {"notice_hours": 169},
        {"webhook_url": "ftp://example.org"}, {"webhook_url": "https://a:b@example.org/"}, {"webhook_url": "https://"},
        {"webhook_url": "https://example.org:0/"}, {"webhook_url": "https://[::1/"},
    ],
)  # fmt: skip
def test_what_is_no_budget_is_refused(project: Project, owner: User, changes: dict[str, object]) -> None:
    with refusal(InvalidInput):
        budgets.save(project, wish(**changes), user=owner)


def test_names_are_one_s_own_and_there_are_ten_at_most(project: Project, owner: User) -> None:
    for number in range(10):
        made(project, owner, name=f"budget {number}")
    with refusal(InvalidInput, match="at most 10"):
        made(project, owner, name="another")
    Budget.objects.first().delete()  # type: ignore[union-attr]
    with refusal(InvalidInput, match="of that name"):
        made(project, owner, name="budget 5")


def test_owners_write_budgets_and_nobody_else(
    project: Project, owner: User, operator: User, viewer: User, stranger: User
) -> None:
    row = made(project, owner)
    for user, error in ((operator, Forbidden), (viewer, Forbidden), (stranger, NotFound)):
        with refusal(error):
            made(project, user, name="mine")
        with refusal(error):
            budgets.save(project, wish(), user=user, budget=row)
        with refusal(error):
            budgets.remove(row, user=user)
    budgets.save(project, wish(amount=Decimal(300)), user=owner, budget=row)
    budgets.remove(row, user=owner)
    found = AuditEntry.objects.filter(target="all").order_by("pk").values_list("action", "who")
    assert list(found) == [("budget.create", "olivia"), ("budget.change", "olivia"), ("budget.remove", "olivia")]


def test_a_budget_of_another_project_is_not_found_in_mine(project: Project, owner: User) -> None:
    other = factories.make_project(owner=owner)
    with refusal(NotFound):
        budgets.save(other, wish(), user=owner, budget=made(project, owner))


# -- told ----------------------------------------------------------------------------------------


def test_each_threshold_is_told_once_a_month(project: Project, vm: VM, owner: User, settings: Settings) -> None:
    settings.MAIL_ENABLED = True
    row = made(project, owner, thresholds=(50, 90, 100))
    assert look(march(5, 23)).told == 0  # 119.00 of 240.00
    assert look(march(6)).told == 1  # 120.00: exactly half
    assert look(march(6, 1)).told == 0
    assert look(march(20)).told == 1  # 90 and 100 at once: people hear of the higher
    assert told() == [("threshold", 50), ("threshold", 90), ("threshold", 100)]
    row.refresh_from_db()
    assert (row.month, row.spent) == ("2026-03", Decimal("456.00"))
    with time_machine.travel(march(20), tick=False):
        assert row.spent == costs.of_project(project, march(20)).so_far
    found = Notification.objects.order_by("pk").values_list("user__username", "kind")
    assert list(found) == [("olivia", "budget"), ("otto", "budget")] * 2
    assert notices.deliver() == 4
    assert "olivia@example.org" in {to for message in mail.outbox for to in message.to}
    subjects = {message.subject for message in mail.outbox}
    assert subjects == {
        "lab has spent 50 % of its budget “all”: 120.00 EUR of 240.00 EUR.",
        "lab has spent 100 % of its budget “all”: 456.00 EUR of 240.00 EUR.",
    }
    audited = AuditEntry.objects.filter(action="budget.threshold").order_by("pk")
    assert [entry.details["percent"] for entry in audited] == [50, 90, 100]


def test_a_new_month_begins_anew_in_the_project_s_time_zone(project: Project, vm: VM, owner: User) -> None:
    with time_machine.travel(MARCH - timedelta(days=9), tick=False):
        prices.change_account(project, {"time_zone": "America/New_York"}, user=owner)
    row = made(project, owner, thresholds=(1,))
    look(march(31, 12))
    look(march(32, 3.9))  # still March there: five to midnight
    assert BudgetAlert.objects.count() == 1
    look(march(32, 12))
    assert list(BudgetAlert.objects.order_by("pk").values_list("month", flat=True)) == ["2026-03", "2026-04"]
    row.refresh_from_db()
    assert row.spent == Decimal("8.00")  # from 04:00 UTC, midnight there, to 12:00


def test_one_project_s_trouble_stops_no_other(
    project: Project, vm: VM, owner: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = factories.make_project(owner=owner)
    made(project, owner)
    made(other, owner)
    real = costs.so_far

    def broken(which: Project, now: datetime) -> tuple[str, Decimal]:
        if which == project:
            raise RuntimeError("an injected fault")
        return real(which, now)

    monkeypatch.setattr(costs, "so_far", broken)
    assert look(march(6)).looked == 1


def test_the_task_looks_and_runs_once_at_a_time(project: Project, vm: VM, owner: User) -> None:
    made(project, owner)
    with time_machine.travel(march(6), tick=False):
        assert tasks.check_budgets() == (1, 1, 0)


# -- obeyed --------------------------------------------------------------------------------------


def create(project: Project, owner: User) -> Operation:
    return request_create(project, VMRequest(f"vm-{VM.objects.count()}"), user=owner)


def test_new_vms_are_refused_from_its_threshold_on(project: Project, vm: VM, owner: User) -> None:
    row = made(project, owner, forbid_at=100)
    look(march(10))
    with time_machine.travel(march(10), tick=False):
        create(project, owner)
    look(march(11))
    with time_machine.travel(march(11), tick=False):
        with refusal(BudgetExceeded, match="The budget “all” allows no new VMs") as refused:
            create(project, owner)
        assert (refused.value.http_status, refused.value.params["name"]) == (403, "all")
        budgets.save(project, wish(amount=Decimal(1000), forbid_at=100), user=owner, budget=row)
        create(project, owner)
        budgets.save(project, wish(forbid_at=100), user=owner, budget=row)
        with refusal(BudgetExceeded):
            create(project, owner)
        create(factories.make_project(owner=owner), owner)
    with time_machine.travel(march(32), tick=False):  # another month
        create(project, owner)


def test_vms_are_suspended_after_the_notice_each_once(project: Project, vm: VM, owner: User) -> None:
    made(project, owner, suspend_at=100, notice_hours=24)
    stopped = vm_born(project, MARCH, "off", State.TERMINATED)
    busy = vm_born(project, MARCH, "busy")
    factories.make_operation(busy, Action.RESET)
    assert look(march(6)).suspended == 0  # two VMs: 240.00
    assert told()[-1] == ("notice", 100)
    assert look(march(6, 23)).suspended == 0
    assert look(march(7)).suspended == 1
    found = Operation.objects.get(action="suspend")
    assert (found.vm_id, found.asked_by, found.user) == (vm.pk, "policy", None)
    assert VM.objects.get(pk=stopped.pk).state == State.TERMINATED
    assert look(march(7, 1)).suspended == 0
    operations.close(Operation.objects.get(vm=busy).pk)
    assert look(march(7, 2)).suspended == 1
    alert = BudgetAlert.objects.get(about="suspended")
    assert set(alert.done) == {str(vm.pk), str(busy.pk)}
    assert AuditEntry.objects.filter(action="budget.suspend", target="web-1").count() == 1
    texts = set(Notification.objects.values_list("text", flat=True))
    assert len(texts) == 3  # of the threshold, of what comes, and of what happened


def test_who_resumes_a_vm_is_not_fought(project: Project, vm: VM, owner: User) -> None:
    made(project, owner, suspend_at=100)
    look(march(11))
    look(march(12))
    operations.close(Operation.objects.get(action="suspend").pk)
    VM.objects.filter(pk=vm.pk).update(state=State.RUNNING)
    assert look(march(13)).suspended == 0


@pytest.mark.parametrize("change", [{"amount": Decimal(1000)}, {"suspend_at": None}, {"suspend_at": 400}])
def test_a_raised_budget_suspends_nothing(project: Project, vm: VM, owner: User, change: dict[str, object]) -> None:
    row = made(project, owner, suspend_at=100)
    look(march(11))
    budgets.save(project, wish(**{"suspend_at": 100, **change}), user=owner, budget=row)
    assert look(march(12)).suspended == 0


def test_a_changed_budget_gives_its_notice_anew(project: Project, vm: VM, owner: User) -> None:
    row = made(project, owner, suspend_at=100)
    look(march(11))
    budgets.save(project, wish(suspend_at=100, amount=Decimal(241)), user=owner, budget=row)
    assert look(march(12)).suspended == 0
    assert look(march(13)).suspended == 1


def test_a_notice_of_last_month_suspends_nothing(project: Project, vm: VM, owner: User) -> None:
    made(project, owner, suspend_at=100)
    look(march(31, 12))
    assert look(march(32, 13)).suspended == 0


# -- messages ------------------------------------------------------------------------------------


@pytest.fixture
def receiver(settings: Settings) -> Iterator[Webhook]:
    settings.WEBHOOK_ALLOWED_NETWORKS = ["127.0.0.0/8"]
    with webhook() as found:
        yield found


def test_a_webhook_is_signed_with_the_secret_that_was_shown(
    project: Project, vm: VM, owner: User, receiver: Webhook
) -> None:
    _row, secret = budgets.save(project, wish(webhook_url=receiver.url), user=owner)
    look(march(6))
    assert rounds.deliver() == 1
    [(_path, headers, body)] = receiver.received
    names = {name.lower(): value for name, value in headers.items()}
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{names['webhook-id']}.{names['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert names["webhook-signature"] == f"v1,{expected}"
    assert abs(time.time() - int(names["webhook-timestamp"])) < 300
    message = json.loads(body)
    assert message["type"] == "budget.threshold"
    assert message["data"] | {"url": ""} == {
        "budget": "all", "project": "lab", "month": "2026-03", "percent": 50, "spent": "120.00", "amount": "240.00",
        "currency": "EUR", "suspendsAt": None, "suspendedVms": 0, "url": "",
    }  # fmt: skip
    assert rounds.deliver() == 0


def test_the_secret_stays_until_the_address_is_another(project: Project, owner: User) -> None:
    row, first = budgets.save(project, wish(webhook_url="https://example.org/a"), user=owner)
    row, none = budgets.save(project, wish(webhook_url="https://example.org/a", amount=TENTH), user=owner, budget=row)
    assert (none, row.webhook_secret) == ("", first)
    row, second = budgets.save(project, wish(webhook_url="https://example.org/b"), user=owner, budget=row)
    assert second not in {"", first}
    row, _none = budgets.save(project, wish(), user=owner, budget=row)
    assert row.webhook_secret == ""
    assert first not in str(list(AuditEntry.objects.values()))


def test_a_message_that_fails_is_sent_again_with_the_same_id(
    project: Project, vm: VM, owner: User, receiver: Webhook
) -> None:
    receiver.answers = [500]
    made(project, owner, webhook_url=receiver.url)
    look(march(6))
    BudgetAlert.objects.update(at=datetime.now(UTC))
    assert rounds.deliver() == 0
    assert "status 500" in BudgetAlert.objects.get().problem
    with no_change():
        assert rounds.deliver() == 0  # its pause is not over
    BudgetAlert.objects.update(send_at=MARCH)
    assert rounds.deliver() == 1
    ids = [headers["webhook-id"] for _path, headers, _body in receiver.received]
    assert len(ids) == 2
    assert ids[0] == ids[1]


@pytest.mark.parametrize("answer", [410, 302])
def test_what_is_given_up(project: Project, vm: VM, owner: User, receiver: Webhook, answer: int) -> None:
    receiver.answers = [answer]
    made(project, owner, webhook_url=receiver.url)
    look(march(6))
    BudgetAlert.objects.update(at=datetime.now(UTC))
    assert rounds.deliver() == 0
    assert (BudgetAlert.objects.get().given_up_at is not None) == (answer == 410)
    assert len(receiver.received) == 1


def test_private_addresses_are_not_reached(project: Project, vm: VM, owner: User, settings: Settings) -> None:
    settings.WEBHOOK_ALLOWED_NETWORKS = []
    with webhook() as inside:
        made(project, owner, webhook_url=inside.url)
        look(march(6))
        assert rounds.deliver() == 0
        assert inside.received == []
    row = BudgetAlert.objects.get()
    assert "private address" in row.problem
    assert row.given_up_at is not None


def test_a_name_is_judged_by_the_address_it_leads_to() -> None:
    among = [ipaddress.ip_network("10.0.0.0/8")]
    with webhook() as inside:
        address = inside.url.replace("127.0.0.1", "localhost")
        with pytest.raises(webhooks.NotDelivered, match="private"):
            webhooks.send(address, webhooks.new_secret(), "msg", b"{}", among=among)
        assert inside.received == []


def test_a_webhook_that_was_switched_off_is_sent_no_more(
    project: Project, vm: VM, owner: User, receiver: Webhook
) -> None:
    row = made(project, owner, webhook_url=receiver.url)
    look(march(6))
    budgets.save(project, wish(), user=owner, budget=row)
    assert rounds.deliver() == 0
    assert BudgetAlert.objects.get().given_up_at is not None
    assert receiver.received == []
