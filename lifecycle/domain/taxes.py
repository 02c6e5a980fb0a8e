"""Which tax a bill carries, pure: by the seller's and the project's country."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from lifecycle.domain.pricing import EXACT, ZERO, rounded

#: Where a business customer of another member state pays the tax itself (directive 2006/112/EC, article 196).
EU: Final = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Tax:
    """A rate in percent, and whether the customer owes the tax itself."""

    percent: Decimal = ZERO
    reverse_charge: bool = False

    def on(self, net: Decimal) -> Decimal:
        """The tax on a net amount: rounded once, on the sum."""
        return rounded(EXACT.multiply(net, self.percent) / 100)


def tax_of(seller: str, customer: str, tax_id: str, rates: Mapping[str, Decimal]) -> Tax:
    """The tax between two countries (ISO 3166, two letters), by the rates known.

    At home the home rate. To another member state of the EU: reverse charge for who has a tax id, else the
    customer's rate. Elsewhere the rate that was entered for the country, which may be none.
    """
    if not customer or customer == seller:
        return Tax(rates.get(seller, ZERO))
    if seller in EU and customer in EU and tax_id:
        return Tax(reverse_charge=True)
    return Tax(rates.get(customer, ZERO))
