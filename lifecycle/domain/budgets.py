"""Budgets, pure: what of a monthly amount is spent, which thresholds that reaches, and what may be asked of one.

A budget never deletes anything: at the worst it refuses new VMs and suspends those that run, after a notice.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final
from urllib.parse import SplitResult, urlsplit

from lifecycle.domain.errors import InvalidInput

#: Thresholds are percent of the amount; beyond 100 they tell how far it was overrun.
PERCENT_MOST: Final = 1000
THRESHOLDS_MOST: Final = 10
DEFAULT_THRESHOLDS: Final = (50, 90, 100)
#: Hours between the notice and the suspension.
NOTICE_HOURS: Final = range(1, 24 * 7 + 1)
AMOUNT_MOST: Final = Decimal("999999999.99")
URL_MAX: Final = 500


def reaches(spent: Decimal, amount: Decimal, percent: int) -> bool:
    """Whether `spent` is at least `percent` % of `amount`: exact, no division."""
    return spent * 100 >= amount * percent


def reached(spent: Decimal, amount: Decimal, thresholds: Iterable[int]) -> list[int]:
    """The thresholds that are reached, lowest first."""
    return [percent for percent in sorted(thresholds) if reaches(spent, amount, percent)]


def percent_spent(spent: Decimal, amount: Decimal) -> int:
    """How much of it is spent, in whole percent, cut: 99.9 % is not 100."""
    return int(spent * 100 // amount)


def parse_thresholds(text: str, field: str = "thresholds") -> list[int]:
    """Of `50, 90 %, 100`: whole percentages, each once, lowest first. Raises InvalidInput."""
    words = text.replace("%", " ").replace(",", " ").replace(";", " ").split()
    if not words or not all(word.isascii() and word.isdigit() and len(word) <= 4 for word in words):
        raise InvalidInput(
            "Thresholds are whole percentages with commas between them, such as 50, 90, 100.", field=field
        )
    return check_thresholds([int(word) for word in words], field)


def check_thresholds(found: Sequence[int], field: str = "thresholds") -> list[int]:
    """Each once, lowest first. Raises InvalidInput: none, too many, or out of bounds."""
    wanted = sorted(set(found))
    if not wanted or len(wanted) > THRESHOLDS_MOST or not 1 <= wanted[0] <= wanted[-1] <= PERCENT_MOST:
        raise InvalidInput(
            "Give one to %(count)s thresholds from 1 to %(most)s percent.",
            field=field,
            count=THRESHOLDS_MOST,
            most=PERCENT_MOST,
        )
    return wanted


def check_action_at(percent: int | None, field: str) -> int | None:
    """The percentage at which a budget acts; None: it does not. Raises InvalidInput."""
    if percent is not None and not 1 <= percent <= PERCENT_MOST:
        raise InvalidInput("This is a percentage from 1 to %(most)s.", field=field, most=PERCENT_MOST)
    return percent


def check_amount(amount: Decimal) -> Decimal:
    """A monthly amount, to the cent. Raises InvalidInput."""
    if not amount.is_finite() or not 0 < amount <= AMOUNT_MOST:
        raise InvalidInput("The amount of a month is more than nothing.", field="amount")
    return amount.quantize(Decimal("0.01"))


def check_notice(hours: int) -> int:
    """The hours between notice and suspension. Raises InvalidInput."""
    if hours not in NOTICE_HOURS:
        raise InvalidInput(
            "The notice is from %(least)s to %(most)s hours before.",
            field="notice_hours",
            least=NOTICE_HOURS[0],
            most=NOTICE_HOURS[-1],
        )
    return hours


def check_webhook(text: str) -> str:
    """The address of a webhook; empty: none. Raises InvalidInput."""
    if text:
        _parsed(text)
    return text


def _parsed(text: str) -> SplitResult:
    wrong = InvalidInput(
        "A webhook is a full address without a password, such as https://example.org/budget.", field="webhook_url"
    )
    if len(text) > URL_MAX or not text.isprintable() or not text.isascii() or " " in text:
        raise wrong
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise wrong from None
    if url.scheme not in {"http", "https"} or not url.hostname or port == 0 or url.username is not None:
        raise wrong
    return url
