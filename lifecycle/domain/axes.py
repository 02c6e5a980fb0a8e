"""The scale of a chart: round numbers that people read at a glance."""

from decimal import Decimal
from typing import Final

#: Steps that are round, times any power of ten.
_ROUND: Final = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))


def ticks(most: Decimal, steps: int = 4) -> list[Decimal]:
    """From 0 on in equal, round steps up to the first that is not below `most`: `steps` of them at most.

    Of nothing (0 or less) it is the scale of 1.
    """
    most = most if most > 0 else Decimal(1)
    least = most / steps
    power = Decimal(1).scaleb(least.adjusted())
    step = next(power * factor for factor in _ROUND if power * factor >= least)
    count = int(most // step) + (1 if most % step else 0)
    return [step * number for number in range(count + 1)]
