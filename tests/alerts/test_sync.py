"""One open alert a matter, whoever looks, how often and at the same time; closed by itself; told once by each way."""

from collections import Counter
from functools import partial

import pytest
from pytest_django import Settings

from lifecycle.domain.alerts import Condition, Kind
from lifecycle.models import Alert, AlertDelivery, Host, User
from lifecycle.services import alerts
from lifecycle.services.alerts import Changes
from tests.services.tools import at_once

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]

KINDS = {Kind.HOST_DOWN, Kind.FINDINGS}
DOWN = Condition(Kind.HOST_DOWN, "1", {"host": "host-1", "reason": "no route"})
FINDINGS = Condition(Kind.FINDINGS, "1", {"host": "host-1", "number": "2"})


@pytest.fixture
def both_ways(settings: Settings) -> None:
    settings.MAIL_ENABLED = True
    settings.ALERT_EMAILS = ["ops@example.org"]
    settings.ALERT_WEBHOOK_URL = "https://example.org/alerts"


def test_a_condition_opens_one_alert_and_no_second_while_it_lasts() -> None:
    assert alerts.sync(KINDS, [DOWN]) == Changes(opened=1)
    assert alerts.sync(KINDS, [DOWN, DOWN]) == Changes()
    alert = alerts.open_alerts().get()
    assert (alert.kind, alert.severity) == ("host_down", "critical")
    assert alert.text % alert.params == "The host host-1 does not answer: no route"


def test_an_alert_is_refreshed_while_its_matter_lasts() -> None:
    alerts.sync(KINDS, [DOWN])
    before = Alert.objects.get()
    alerts.sync(KINDS, [Condition(Kind.HOST_DOWN, "1", {"host": "host-1", "reason": "refused"})])
    after = Alert.objects.get()
    assert after.params["reason"] == "refused"
    assert after.last_seen_at > before.last_seen_at
    assert after.opened_at == before.opened_at


def test_an_alert_is_over_when_its_condition_is() -> None:
    alerts.sync(KINDS, [DOWN, FINDINGS])
    assert alerts.sync(KINDS, [FINDINGS]) == Changes(resolved=1)
    assert [a.kind for a in alerts.open_alerts()] == ["findings"]


def test_a_matter_that_comes_again_is_a_new_alert() -> None:
    for conditions in ([DOWN], [], [DOWN]):
        alerts.sync(KINDS, conditions)
    assert Alert.objects.filter(key=DOWN.key).count() == 2
    assert alerts.open_alerts().count() == 1


def test_kinds_that_were_not_looked_at_stay() -> None:
    alerts.sync(KINDS, [DOWN])
    assert alerts.sync({Kind.METERING}, []) == Changes()
    assert alerts.open_alerts().count() == 1


def test_a_condition_of_a_kind_that_was_not_looked_at_is_a_defect() -> None:
    with pytest.raises(ValueError, match="host_down"):
        alerts.sync({Kind.METERING}, [DOWN])


def test_critical_alerts_come_first() -> None:
    alerts.sync(KINDS, [DOWN])
    alerts.sync(KINDS, [DOWN, FINDINGS])
    assert [a.severity for a in alerts.open_alerts()] == ["critical", "warning"]


@pytest.mark.usefixtures("both_ways")
def test_opening_and_end_are_told_once_by_each_way() -> None:
    for conditions in ([DOWN], [DOWN], [], []):
        alerts.sync(KINDS, conditions)
    told = AlertDelivery.objects.values_list("way", "about")
    assert Counter(told) == {(way, about): 1 for way in ("mail", "webhook") for about in ("opened", "resolved")}


def test_nobody_is_told_where_no_way_is_switched_on(settings: Settings) -> None:
    settings.MAIL_ENABLED = False
    settings.ALERT_EMAILS = ["ops@example.org"]
    alerts.sync(KINDS, [DOWN])
    assert not AlertDelivery.objects.exists()


@pytest.mark.usefixtures("both_ways")
def test_who_was_not_told_of_an_alert_is_not_told_of_its_end(settings: Settings) -> None:
    settings.ALERT_WEBHOOK_URL = ""
    alerts.sync(KINDS, [DOWN])
    settings.ALERT_WEBHOOK_URL = "https://example.org/alerts"
    alerts.sync(KINDS, [])
    assert set(AlertDelivery.objects.values_list("way", flat=True)) == {"mail"}


def test_an_acknowledged_alert_stays_open_while_its_matter_lasts(superuser: User) -> None:
    alerts.sync(KINDS, [DOWN])
    alert = alerts.open_alerts().get()
    assert alerts.acknowledge(alert, superuser)
    assert not alerts.acknowledge(alert, superuser)
    alerts.sync(KINDS, [DOWN])
    kept = alerts.open_alerts().get()
    assert (kept.pk, kept.acknowledged_by) == (alert.pk, superuser)


def test_an_incident_is_over_when_somebody_took_note(superuser: User) -> None:
    incident = Condition(Kind.PERIODIC_CHANGED, "lifecycle.x", {"task": "lifecycle.x"})
    assert alerts.report(incident)
    assert not alerts.report(incident)
    alerts.acknowledge(alerts.open_alerts().get(), superuser)
    assert not alerts.open_alerts().exists()
    assert alerts.report(incident)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("both_ways")
def test_many_that_look_at_once_open_one_alert_and_close_it_once(host: Host) -> None:
    opened = at_once([partial(alerts.sync, KINDS, [DOWN])] * 8)
    assert Counter(opened) == {Changes(opened=1): 1, Changes(): 7}
    resolved = at_once([partial(alerts.sync, KINDS, [])] * 8)
    assert Counter(resolved) == {Changes(resolved=1): 1, Changes(): 7}
    assert Alert.objects.count() == 1
    assert AlertDelivery.objects.count() == 4
