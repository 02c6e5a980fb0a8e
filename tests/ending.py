"""How programs of our own that must clean up behind them are ended."""

import signal
from types import FrameType

_ENDS = (signal.SIGINT, signal.SIGTERM)


def end_by_interrupt() -> None:
    """From here on the first SIGINT or SIGTERM is a KeyboardInterrupt; further ones do not disturb the clean-up.

    One that goes to a whole group of processes comes twice: once itself, once from the launcher, which passes it on.
    """
    for number in _ENDS:
        signal.signal(number, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    for number in _ENDS:
        signal.signal(number, _ignore)  # not SIG_IGN, which programs that are started from here would inherit
    raise KeyboardInterrupt


def _ignore(_number: int, _frame: FrameType | None) -> None:
    pass
