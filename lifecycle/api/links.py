"""selfLinks: always https, as the clients take them apart by that, and under the host that was asked."""

from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Links:
    """The addresses of one project's resources."""

    host: str
    project: str
    #: Of the project. A list has thousands of addresses that begin so: it is put together once.
    root: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", f"https://{self.host}/compute/v1/projects/{self.project}")

    def to_global(self, collection: str, name: str) -> str:
        """Of a resource that belongs to no zone."""
        return f"{self.root}/global/{collection}/{name}"

    def region(self, name: str) -> str:
        """Of a region."""
        return f"{self.root}/regions/{name}"

    def zone(self, name: str) -> str:
        """Of a zone."""
        return f"{self.root}/zones/{name}"

    def zonal(self, zone: str, collection: str, name: str) -> str:
        """Of a zone's resource."""
        return f"{self.root}/zones/{zone}/{collection}/{name}"

    def subnetwork(self, region: str) -> str:
        """Of the project's one subnetwork."""
        return f"{self.region(region)}/subnetworks/{NETWORK}"


#: The project's one network and its subnetwork, by the name that the clients ask for by default.
NETWORK = "default"


def number_of(identifier: UUID) -> str:
    """The id on the wire, where it is a number of 63 bits: the first bits of our own."""
    return str(identifier.int >> 65)


def range_of(number: str) -> tuple[UUID, UUID] | None:
    """The first and the last of our ids that `number` may stand for; None when it is not such a number."""
    if not (number.isascii() and number.isdigit() and len(number) <= 19) or int(number) >= 1 << 63:
        return None
    first = int(number) << 65
    return UUID(int=first), UUID(int=first + (1 << 65) - 1)


def region_of(zone: str) -> str:
    """The region of a zone is its name up to the last hyphen, as the clients take it."""
    return zone.rpartition("-")[0] or zone
