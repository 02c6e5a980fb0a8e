"""Which event numbers a browser was sent: all up to one, and some beyond a gap."""


class Cursor:
    """Every number up to `number` was sent; those of a gap are not, until it closes."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._ahead: set[int] = set()

    def has(self, number: int) -> bool:
        """Whether it was sent."""
        return number <= self.number or number in self._ahead

    def add(self, number: int) -> None:
        """It was sent now."""
        if number > self.number:
            self._ahead.add(number)
            self._close_gap()

    def skip_to(self, number: int) -> None:
        """All up to `number` was sent, or will be fetched in another way."""
        if number > self.number:
            self.number = number
            self._ahead = {ahead for ahead in self._ahead if ahead > number}
            self._close_gap()

    def _close_gap(self) -> None:
        while self.number + 1 in self._ahead:
            self.number += 1
            self._ahead.remove(self.number)
