"""Price lists: drafted, checked, published, and from then on fixed. What was agreed with a project. Credits."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.db import IntegrityError, transaction
from django.db.models import Max, Q, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from lifecycle.domain import discounts, pricing
from lifecycle.domain.access import Right
from lifecycle.domain.errors import InvalidInput, NotFound, StateConflict
from lifecycle.domain.pricing import Item, PriceBook, Tariff, Tier
from lifecycle.models import (
    BillingAccount,
    CommittedUse,
    Credit,
    Price,
    PriceList,
    Project,
    PromotionCode,
    Seller,
    TaxRate,
    User,
)
from lifecycle.services.access import require
from lifecycle.services.db import lock_project, service

#: When a draft that is looked at begins: before all that is billed.
BEGIN: Final = datetime(2020, 1, 1, tzinfo=UTC)
CURRENCY: Final = "EUR"
_RATE_STEP: Final = Decimal(1).scaleb(-15)

#: The default price list: item, family, price of a unit-hour, free unit-hours a month.
DEFAULT_PRICES: Final = (
    (Item.VCPU, "", "0.0240", 0),
    (Item.VCPU, "tiny", "0.0060", 730),
    (Item.VCPU, "highcpu", "0.0220", 0),
    (Item.MEMORY, "", "0.0032", 0),
    (Item.SUSPENDED_MEMORY, "", "0.0003", 0),
    (Item.DISK, "", "0.000055", 0),
    (Item.IMAGE, "", "0.000070", 0),
)
DEFAULT_SUSTAINED: Final = [["0", "0"], ["0.25", "20"], ["0.5", "40"], ["0.75", "60"]]
DEFAULT_SLA: Final = [["0.999", "10"], ["0.99", "25"], ["0.95", "50"]]


# -- reading -------------------------------------------------------------------------------------


def tariff(*, instead: PriceList | None = None) -> Tariff:
    """All published versions, in two queries.

    Args:
        instead: a draft that is looked at as if it alone had always applied.
    """
    rows = [instead] if instead else list(PriceList.objects.filter(published_at__isnull=False).order_by("valid_from"))
    prices: dict[int, list[pricing.Price]] = {row.pk: [] for row in rows}
    for price in Price.objects.filter(price_list__in=rows).order_by("item", "kind", "zone"):
        one = pricing.Price(Item(price.item), price.per_second, price.kind, price.zone, price.free_hours)
        prices[price.price_list_id].append(one)
    return Tariff(tuple(_book(row, prices[row.pk], BEGIN if instead else row.valid_from) for row in rows))


def frozen(book: PriceBook) -> Tariff:
    """The version alone, as if it had always applied and did for ever."""
    return Tariff((replace(book, valid_from=BEGIN),))


def _book(row: PriceList, prices: list[pricing.Price], valid_from: datetime) -> PriceBook:
    return PriceBook(
        row.version, row.currency, valid_from, tuple(prices), tiers(row.sustained, "sustained"), tiers(row.sla, "sla")
    )


def tiers(rows: Any, name: str) -> tuple[Tier, ...]:
    """Tiers as they are kept: a list of [bound, percent]. Raises InvalidInput on anything else."""
    try:
        found = tuple(Tier(Decimal(str(above)), Decimal(str(percent))) for above, percent in rows)
    except (TypeError, ValueError, InvalidOperation):
        found = (Tier(Decimal(-1), Decimal(0)),)
    if any(not (0 <= tier.above <= 1 and 0 <= tier.percent <= 100) for tier in found):
        raise InvalidInput(
            'These are pairs of a bound from 0 to 1 and a percentage from 0 to 100, such as [["0.25", "20"]].',
            field=name,
        )
    return found


def account_of(project: Project) -> BillingAccount:
    """The project's account; one that was never written has the defaults."""
    return BillingAccount.objects.filter(project=project).first() or BillingAccount(project=project)


def terms_of(project: Project, since: datetime, until: datetime) -> discounts.Terms:
    """What was agreed with the project for the time [since, until), and its credits: three queries."""
    committed = CommittedUse.objects.filter(project=project, starts_at__lt=until, ends_at__gt=since).order_by("id")
    return discounts.Terms(
        account_of(project).discount_percent,
        tuple(
            discounts.Commitment(str(c.pk), Item(c.item), c.family, c.units, c.percent, c.starts_at, c.ends_at)
            for c in committed
        ),
        tuple(discounts.Credit(str(row.pk), left) for row, left in credits_left(project, until)),
    )


def credits_left(project: Project, at: datetime | None = None) -> list[tuple[Credit, Decimal]]:
    """The credits that had not expired by `at`, and what no issued invoice has taken of each: one query.

    What expires first is taken first.
    """
    moment = at or timezone.now()
    rows = Credit.objects.filter(project=project).filter(Q(expires_at=None) | Q(expires_at__gt=moment))
    rows = rows.annotate(used=Coalesce(Sum("uses__amount"), Decimal(0))).order_by("expires_at", "granted_at", "pk")
    found = [(row, pricing.rounded(row.amount - row.used)) for row in rows]
    with_end = [pair for pair in found if pair[0].expires_at]
    return [pair for pair in [*with_end, *(p for p in found if not p[0].expires_at)] if pair[1] > 0]


def tax_rates(at: datetime) -> dict[str, Decimal]:
    """Country -> its rate at `at`."""
    rows = TaxRate.objects.filter(valid_from__lte=at).order_by("valid_from")
    return dict(rows.values_list("country", "percent"))


def seller() -> Seller | None:
    """Who sends the invoices; None: nobody yet, and nothing is issued."""
    return Seller.objects.first()


# -- price lists ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offer:
    """A price of a draft."""

    item: Item
    per_second: Decimal
    kind: str = ""
    zone: str = ""
    free_hours: Decimal = Decimal(0)


@service
def draft_price_list(
    currency: str,
    valid_from: datetime,
    offers: Iterable[Offer],
    *,
    title: str = "",
    sustained: Any = (),
    sla: Any = (),
) -> PriceList:
    """A new version, which applies to nothing until it is published. Raises InvalidInput."""
    tiers(sustained, "sustained"), tiers(sla, "sla")
    made = PriceList.objects.create(
        version=next_version(),
        title=title[:100],
        currency=currency.upper(),
        valid_from=valid_from,
        sustained=list(sustained),
        sla=list(sla),
    )
    for offer in offers:
        Price.objects.create(
            price_list=made,
            item=offer.item,
            kind=offer.kind,
            zone=offer.zone,
            per_second=offer.per_second,
            free_hours=offer.free_hours,
        )
    return made


def next_version() -> int:
    """The version that a new list gets."""
    last: int = PriceList.objects.aggregate(last=Max("version"))["last"] or 0
    return last + 1


@service
def copy_price_list(source: PriceList, valid_from: datetime) -> PriceList:
    """A draft with the prices of `source`: how a published list is changed."""
    offers = [
        Offer(Item(p.item), p.per_second, p.kind, p.zone, p.free_hours) for p in source.prices.order_by("item", "kind")
    ]
    return draft_price_list(
        source.currency, valid_from, offers, title=source.title, sustained=source.sustained, sla=source.sla
    )


@service
def publish(price_list: PriceList, *, user: User | None, first: bool = False) -> PriceList:
    """Fix a draft: from `valid_from` on it applies, and nobody can change it any more.

    Args:
        first: the very first list may begin in the past.

    Raises:
        StateConflict: it is published already.
        InvalidInput: it begins in the past, is in another currency than the others, or another begins then, too; a
            price of images names what images do not have.
    """
    row = PriceList.objects.select_for_update().get(pk=price_list.pk)
    if row.published_at:
        raise StateConflict("This price list is published. Copy it to change prices from a later day on.")
    now = timezone.now()
    others = PriceList.objects.filter(published_at__isnull=False)
    if row.valid_from < now and not (first and not others.exists()):
        raise InvalidInput("A price list begins in the future: what was used has its price.", field="valid_from")
    if others.exclude(currency=row.currency).exists():
        raise InvalidInput("All price lists are in one currency.", field="currency")
    if row.prices.filter(item=Item.IMAGE).exclude(kind="", zone="").exists():
        raise InvalidInput("Images have no type and no zone: a price that names one would be nobody's.")
    tiers(row.sustained, "sustained"), tiers(row.sla, "sla")
    row.published_at, row.published_by = now, user
    try:
        with transaction.atomic():
            row.save(update_fields=["published_at", "published_by"])
    except IntegrityError:
        raise InvalidInput("Another price list begins at the same moment.", field="valid_from") from None
    return row


def per_second(hourly: str | Decimal) -> Decimal:
    """The price of a unit-second of that of a unit-hour, to fifteen digits after the point."""
    return (Decimal(hourly) / 3600).quantize(_RATE_STEP)


@service
def seed() -> PriceList | None:
    """The default price list from today on, where there is none at all; None: there is one."""
    if PriceList.objects.exists():
        return None
    offers = [
        Offer(item, per_second(hourly), kind, free_hours=Decimal(free)) for item, kind, hourly, free in DEFAULT_PRICES
    ]
    begins = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    made = draft_price_list(CURRENCY, begins, offers, title="Default", sustained=DEFAULT_SUSTAINED, sla=DEFAULT_SLA)
    return publish(made, user=None, first=True)


# -- a project's terms ---------------------------------------------------------------------------


#: What owners of a project may change of its account.
OWN_FIELDS: Final = ("name", "address", "country", "tax_id", "email", "language", "time_zone")


@service
def change_account(project: Project, changes: dict[str, str], *, user: User | None) -> BillingAccount:
    """Write where a project's bills go. `user` None: an operator, whose permission the caller checked.

    Raises:
        NotFound, Forbidden: not by a stranger, nor by a member who may not manage the project.
        InvalidInput: an unknown time zone or country.
    """
    project = lock_project(project.pk)
    _check_may_manage(project, user)
    row, _made = BillingAccount.objects.get_or_create(project=project)
    wanted = {name: value for name, value in changes.items() if name in OWN_FIELDS}
    if "time_zone" in wanted:
        check_time_zone(wanted["time_zone"])
    if "country" in wanted:
        wanted["country"] = _country(wanted["country"])
    for name, value in wanted.items():
        setattr(row, name, value.strip())
    row.save(update_fields=list(wanted))
    return row


def check_time_zone(name: str) -> str:
    """`name`, if there is such a zone. Raises InvalidInput."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidInput(
            "There is no time zone %(value)s: it is written as Europe/Paris is.", field="time_zone", value=name
        ) from None
    return name


def _country(text: str) -> str:
    found = text.strip().upper()
    if found and not (len(found) == 2 and found.isascii() and found.isalpha()):
        raise InvalidInput("A country is two letters, such as FR or DE.", field="country")
    return found


def _check_may_manage(project: Project, user: User | None) -> None:
    if user is None:
        return
    require(project, user, Right.MANAGE_MEMBERS)


@service
def grant_credit(
    project: Project, amount: Decimal, reason: str, *, user: User | None, expires_at: datetime | None = None
) -> Credit:
    """Give a project money off its next bills. Raises InvalidInput."""
    if amount <= 0:
        raise InvalidInput("A credit is more than nothing.", field="amount")
    return Credit.objects.create(
        project=project, amount=amount, reason=reason[:200], granted_by=user, expires_at=expires_at
    )


@service
def redeem(project: Project, code: str, *, user: User) -> Credit:
    """Turn a promotion code into a credit of the project, once.

    Raises:
        NotFound: there is no such code, or it has expired: the two are not told apart.
        InvalidInput: the project used it, or as many projects as it is for.
    """
    project = lock_project(project.pk)
    _check_may_manage(project, user)
    now = timezone.now()
    found = PromotionCode.objects.select_for_update().filter(code__iexact=code.strip()).first()
    if found is None or (found.expires_at and found.expires_at <= now):
        raise NotFound("There is no such promotion code, or it has expired.", field="code")
    used = found.credits.count()
    if found.credits.filter(project=project).exists():
        raise InvalidInput("This project has used the code.", field="code")
    if used >= found.most_uses:
        raise InvalidInput("The code was used as often as it can be.", field="code")
    return Credit.objects.create(
        project=project, amount=found.amount, reason=found.code, promotion=found, granted_by=user
    )
