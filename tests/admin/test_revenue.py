"""The billing dashboard: its figures, its exports, who sees it, and how many queries it takes."""

import csv
import io
import json
import re
from collections.abc import Callable
from decimal import Decimal

import pytest
import time_machine
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from lifecycle.admin.revenue import HEIGHT, chart
from lifecycle.billing import revenue
from lifecycle.domain.pricing import Item
from lifecycle.models import Host, Project, User
from lifecycle.services.bootstrap import BILLING_GROUP, bootstrap
from tests import factories
from tests.billing.tools import crash, feb, price_list, vm_born

PAGE = "/admin/lifecycle/revenueday/"
NOW = feb(10, 12)


@pytest.fixture
def used(project: Project, host: Host, catalog: None) -> Project:
    """1.00 an hour from the fifth, 12 hours of them in repair."""
    price_list([(Item.VCPU, "1")])
    crash(vm_born(project, feb(5), "web-1"), feb(7), feb(7, 12))
    revenue.sum_up(NOW)
    return project


def get(client: Client, path: str = PAGE) -> str:
    with time_machine.travel(NOW, tick=False):
        client.get("/projects/")
        response = client.get(path, follow=True)
        assert response.status_code == 200
        streamed = getattr(response, "streaming_content", None)
        return (b"".join(streamed) if streamed is not None else response.content).decode()


def test_the_dashboard_shows_revenue_repair_and_credits(admin_client: Client, used: Project) -> None:
    page = get(admin_client)
    assert "120.00 EUR" in page  # five and a half days less twelve hours
    assert "12.00 EUR" in page
    for text in ("Revenue by day", "Feb. 7, 2026: 12.00 EUR", "Feb. 7, 2026: 12.0 h, 12.00 EUR", "tiny", "lab"):
        assert text in page
    assert page.count("<rect") == 62
    assert "the QEMU process died" in page


def test_without_any_revenue_the_page_says_so(admin_client: Client, db: None) -> None:
    page = get(admin_client)
    assert "Nothing was used yet." in page
    assert "Nothing was in repair." in page


def test_the_export_as_csv_has_every_row(admin_client: Client, used: Project) -> None:
    rows = list(csv.DictReader(io.StringIO(get(admin_client, f"{PAGE}csv"))))
    assert sum(Decimal(row["amount"]) for row in rows if row["item"] == "vcpu") == Decimal("120.00")
    assert {row["project"] for row in rows} == {"lab"}
    assert {row["currency"] for row in rows} == {"EUR"}


def test_the_export_as_json_has_repairs_beside_their_cost(admin_client: Client, used: Project) -> None:
    found = json.loads(get(admin_client, f"{PAGE}json"))
    assert len(found["days"]) == 7
    [repair] = found["repairs"]
    assert (repair["cause"], repair["repairs"], repair["hours"], repair["unbilled"]) == ("crash", 1, "12.0000", "12.00")


def test_the_billing_role_sees_it_and_others_do_not(
    as_user: Callable[[User], Client], make_staff: Callable[..., User], used: Project
) -> None:
    bootstrap()
    clerk = factories.make_user("clerk", is_staff=True)
    clerk.groups.add(Group.objects.get(name=BILLING_GROUP))
    assert "120.00 EUR" in get(as_user(clerk))
    other = as_user(make_staff("lifecycle.view_vm"))
    for path in (PAGE, f"{PAGE}csv", f"{PAGE}json"):
        assert other.get(path, follow=True).status_code == 403


def queries(client: Client) -> int:
    get(client)
    with CaptureQueriesContext(connection) as captured:
        get(client)
    return len(captured)


def test_the_number_of_queries_is_constant(admin_client: Client, used: Project) -> None:
    before = queries(admin_client)
    for number in range(4):
        project = factories.make_project()
        crash(vm_born(project, feb(4), f"vm-{number}"), feb(6), feb(6, 1))
    revenue.sum_up(NOW)
    assert queries(admin_client) == before


def test_bars_are_as_high_as_their_share_of_the_scale() -> None:
    drawn = chart([Decimal(0), Decimal(5), Decimal(10)], ["a", "b", "c"], "EUR")
    assert [bar.height for bar in drawn.bars] == [0, HEIGHT / 2, HEIGHT]
    assert [bar.y for bar in drawn.bars] == [HEIGHT, HEIGHT / 2, 0]
    assert drawn.bars[0].x < drawn.bars[1].x < drawn.bars[2].x
    assert drawn.scale == [("10.0 EUR", 0), ("7.5 EUR", 30), ("5.0 EUR", 60), ("2.5 EUR", 90), ("0.0 EUR", HEIGHT)]
    assert [bar.height for bar in chart([Decimal(0)], ["a"], "h").bars] == [0]
    assert chart([Decimal(31_500)], ["a"], "EUR").scale[0] == ("40,000 EUR", 0)


def test_the_charts_have_scales_in_the_currency_and_dates(admin_client: Client, used: Project) -> None:
    """24.00 a day at most; 12 hours of repair. 31 days up to the 10th of February."""
    page = get(admin_client)
    for text in ("<li>30 EUR</li>", "<li>10 EUR</li>", "<li>0 EUR</li>", "<li>15 h</li>", "<li>0 h</li>"):
        assert text in page
    marks = re.findall(r"<li>(\d+ \w+)</li>", page.partition('<ol class="op-days"')[2].partition("</ol>")[0])
    assert marks == ["11 Jan", "17 Jan", "23 Jan", "29 Jan", "4 Feb", "10 Feb"]
    assert 'aria-label="Revenue by day, 0 EUR to 30 EUR"' in page
