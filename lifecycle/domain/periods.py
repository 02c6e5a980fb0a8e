"""Months, pure: of a time zone, from midnight to midnight on its own wall."""

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month; `str` of it is `2026-02`."""

    year: int
    month: int

    def __str__(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @classmethod
    def parse(cls, text: str) -> "Month":
        """Of `2026-02`. Raises ValueError for anything else."""
        year, _, month = text.partition("-")
        if not (len(year) == 4 and len(month) == 2 and (year + month).isascii() and (year + month).isdigit()):
            raise ValueError(f"no month: {text}")
        return cls.of(datetime(int(year), int(month), 1, tzinfo=UTC), ZoneInfo("UTC"))

    @classmethod
    def of(cls, moment: datetime, zone: ZoneInfo) -> "Month":
        """The month in which `moment` is, in `zone`."""
        local = moment.astimezone(zone)
        return cls(local.year, local.month)

    @property
    def next(self) -> "Month":
        """The month after."""
        return Month(self.year + self.month // 12, self.month % 12 + 1)

    @property
    def before(self) -> "Month":
        """The month before."""
        return Month(self.year - (self.month == 1), (self.month - 2) % 12 + 1)

    def start(self, zone: ZoneInfo) -> datetime:
        """Its first moment in `zone`, as UTC. Where midnight does not exist (the clock is put forward then): the
        first moment that does."""
        return datetime(self.year, self.month, 1, tzinfo=zone).astimezone(UTC)

    def bounds(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """[start, end) in UTC: with a change of the clock it is an hour shorter or longer."""
        return self.start(zone), self.next.start(zone)
