"""Times on the wire: RFC 3339, with milliseconds and the offset."""

from datetime import UTC, datetime

from lifecycle.api.schemas import Time


def wire_time(moment: datetime) -> Time:
    """The moment as Compute Engine writes it."""
    return Time(moment.astimezone(UTC).isoformat(timespec="milliseconds"))
