"""What a browser may send us, and how much of it."""

import json
import time

#: Longest message a browser may send, in characters; what live.js sends has about 40.
LENGTH_MAX = 1024
#: Messages a browser may send at once, and how many a second after that.
BURST = 20.0
PER_SECOND = 5.0
#: Beyond the allowance, so many are answered with an error before the connection is closed.
PATIENCE = 50.0

NUMBER_MAX = 2**63 - 1


class Malformed(Exception):
    """The message is not one of ours; `code` says what is wrong with it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def since_number(text: str | None) -> int:
    """The number of a `{"type": "since", "number": n}`, the one message there is.

    Raises:
        Malformed: it is binary, too long, not JSON, of another type, or its number is none.
    """
    if text is None:
        raise Malformed("binary")
    if len(text) > LENGTH_MAX:
        raise Malformed("too_long")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("not_json") from None
    if not isinstance(message, dict) or message.get("type") != "since":
        raise Malformed("unknown_type")
    number = message.get("number")
    if type(number) is not int or not 0 <= number <= NUMBER_MAX:
        raise Malformed("bad_number")
    return number


class Allowance:
    """A token bucket; it may go into debt down to -PATIENCE."""

    def __init__(self) -> None:
        self._left = BURST
        self._at = time.monotonic()

    def take(self) -> float:
        """Take one; what is left, negative when the sender is too fast."""
        now = time.monotonic()
        self._left = min(BURST, self._left + (now - self._at) * PER_SECOND) - 1
        self._at = now
        return self._left
