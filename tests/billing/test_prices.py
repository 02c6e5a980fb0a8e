"""Price lists that are fixed once published, terms of projects, credits and codes."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from lifecycle.domain.errors import Forbidden, InvalidInput, NotFound, StateConflict
from lifecycle.domain.pricing import Item
from lifecycle.models import Credit, Price, PriceList, Project, PromotionCode, User, guards
from lifecycle.services import prices
from lifecycle.services.bootstrap import bootstrap
from lifecycle.services.prices import Offer
from tests.billing.tools import price_list
from tests.services.tools import refusal

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]

OFFER = Offer(Item.VCPU, Decimal("0.00001"))


def soon() -> object:
    return timezone.now() + timedelta(days=2)


def draft(**more: object) -> PriceList:
    return prices.draft_price_list("eur", soon(), [OFFER], **more)  # type: ignore[arg-type]


def test_an_installation_begins_with_a_published_price_list() -> None:
    bootstrap()
    bootstrap()
    tariff = prices.tariff()
    assert [book.version for book in tariff.books] == [1]
    vcpu = tariff.books[0].price(Item.VCPU, "standard", "anywhere")
    assert vcpu
    assert vcpu.per_second == Decimal("0.000006666666667")
    image = tariff.books[0].price(Item.IMAGE, "", "")
    assert image
    assert image.per_second
    assert tariff.currency == "EUR"


def test_what_is_published_applies_and_a_draft_does_not() -> None:
    made = draft()
    assert prices.tariff().books == ()
    prices.publish(made, user=None)
    assert len(prices.tariff().books) == 1


def test_a_published_list_is_published_once() -> None:
    made = prices.publish(draft(), user=None)
    with refusal(StateConflict, match="Copy it"):
        prices.publish(made, user=None)


def test_a_list_begins_in_the_future_in_one_currency_and_alone() -> None:
    first = prices.publish(draft(), user=None)
    past = prices.draft_price_list("EUR", timezone.now() - timedelta(seconds=1), [OFFER])
    with refusal(InvalidInput, match="future"):
        prices.publish(past, user=None)
    dollars = prices.draft_price_list("USD", soon(), [OFFER])  # type: ignore[arg-type]
    with refusal(InvalidInput, match="one currency"):
        prices.publish(dollars, user=None)
    with refusal(InvalidInput, match="same moment"):
        prices.publish(prices.draft_price_list("EUR", first.valid_from, [OFFER]), user=None)


@pytest.mark.parametrize(("kind", "zone"), [("standard", ""), ("", "zone-a")])
def test_a_price_of_images_that_could_never_apply_is_refused(kind: str, zone: str) -> None:
    made = draft()
    Price.objects.create(price_list=made, item=Item.IMAGE, kind=kind, zone=zone, per_second=Decimal(1))
    with refusal(InvalidInput, match="no zone"):
        prices.publish(made, user=None)


@pytest.mark.parametrize("tiers", ["x", [["0.5"]], [["2", "1"]], [["0.5", "101"]], [[None, "1"]], 7])
def test_tiers_that_make_no_sense_are_refused(tiers: object) -> None:
    with refusal(InvalidInput, match="pairs"):
        draft(sustained=tiers)


def test_the_database_refuses_every_change_of_a_published_list() -> None:
    made = price_list()
    one = made.prices.first()
    assert one
    for change in (
        lambda: PriceList.objects.filter(pk=made.pk).update(valid_from=timezone.now()),
        lambda: PriceList.objects.filter(pk=made.pk).update(sla=[["0.5", "100"]]),
        lambda: PriceList.objects.filter(pk=made.pk).update(published_at=None),
        lambda: Price.objects.filter(pk=one.pk).update(per_second=Decimal(1)),
        lambda: Price.objects.create(price_list=made, item="image", per_second=Decimal(1)),
    ):
        with pytest.raises(IntegrityError, match=guards.PRICES_FIXED), transaction.atomic():
            change()


def test_no_price_moves_into_a_published_list() -> None:
    made, other = price_list(), draft()
    with pytest.raises(IntegrityError, match=guards.PRICES_FIXED), transaction.atomic():
        other.prices.update(price_list=made, item="image")


def test_a_draft_may_change_and_a_copy_of_a_published_list_is_a_draft() -> None:
    made = draft()
    made.prices.update(per_second=Decimal("0.5"))
    copy = prices.copy_price_list(prices.publish(made, user=None), soon())  # type: ignore[arg-type]
    assert copy.version == made.version + 1
    assert copy.prices.get().per_second == Decimal("0.5")
    assert copy.published_at is None


# -- a project's account -------------------------------------------------------------------------


def test_owners_say_where_bills_go(project: Project, owner: User) -> None:
    made = prices.change_account(
        project, {"country": " fr ", "time_zone": "Europe/Paris", "discount_percent": "99"}, user=owner
    )
    made.refresh_from_db()
    assert (made.country, made.time_zone) == ("FR", "Europe/Paris")
    assert made.discount_percent == 0


def test_others_do_not(project: Project, operator: User, stranger: User) -> None:
    with refusal(Forbidden):
        prices.change_account(project, {"name": "x"}, user=operator)
    with refusal(NotFound):
        prices.change_account(project, {"name": "x"}, user=stranger)


@pytest.mark.parametrize("changes", [{"time_zone": "Mars/Base"}, {"time_zone": "../etc"}, {"country": "France"}])
def test_a_wrong_account_is_refused(project: Project, owner: User, changes: dict[str, str]) -> None:
    with refusal(InvalidInput):
        prices.change_account(project, changes, user=owner)


# -- credits and codes ---------------------------------------------------------------------------


def code(**fields: object) -> PromotionCode:
    return PromotionCode.objects.create(**{"code": "WELCOME", "amount": Decimal(20), **fields})


def test_a_code_is_a_credit_once_a_project(project: Project, owner: User) -> None:
    code(most_uses=5)
    made = prices.redeem(project, " welcome ", user=owner)
    assert prices.credits_left(project) == [(made, Decimal("20.00"))]
    with refusal(InvalidInput, match="has used"):
        prices.redeem(project, "WELCOME", user=owner)


def test_a_code_is_for_so_many_projects(project: Project, owner: User, stranger: User) -> None:
    code()
    prices.redeem(project, "WELCOME", user=owner)
    with refusal(InvalidInput, match="as often"):
        prices.redeem(Project.objects.get(slug="elsewhere"), "WELCOME", user=stranger)


def test_an_expired_code_looks_like_none(project: Project, owner: User) -> None:
    code(expires_at=timezone.now() - timedelta(seconds=1))
    for word in ("WELCOME", "NOTHING", ""):
        with refusal(NotFound, match="no such promotion code"):
            prices.redeem(project, word, user=owner)


def test_only_who_manages_the_project_redeems(project: Project, viewer: User) -> None:
    code()
    with refusal(Forbidden):
        prices.redeem(project, "WELCOME", user=viewer)


def test_a_credit_of_nothing_is_refused(project: Project) -> None:
    with refusal(InvalidInput):
        prices.grant_credit(project, Decimal(0), "nothing", user=None)


def test_what_expires_first_is_taken_first(project: Project) -> None:
    now = timezone.now()
    for days in (None, 30, 10, -1):
        prices.grant_credit(
            project, Decimal(1), str(days), user=None, expires_at=None if days is None else now + timedelta(days=days)
        )
    assert [row.reason for row, _left in prices.credits_left(project)] == ["10", "30", "None"]
    assert Credit.objects.count() == 4
