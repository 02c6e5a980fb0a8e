"""What a list of VMs is asked for: words, filters, order. It comes from an address and goes back into one."""

from dataclasses import dataclass, replace
from typing import Final, Self
from urllib.parse import urlencode

from django.db.models import Q
from django.http import QueryDict

from lifecycle.domain.states import State
from lifecycle.models.vms import VMQuerySet

#: The orders a list may have; a minus before the name turns one round. Names break ties.
SORTS: Final[dict[str, str]] = {
    "name": "name",
    "state": "state",
    "machine": "vcpus",
    "place": "host__name",
    "since": "state_since",
    "created": "created_at",
}
DEFAULT_SORT: Final = "name"
WORDS_MAX: Final = 100


@dataclass(frozen=True, slots=True)
class VMSearch:
    """A search; empty fields ask for nothing."""

    q: str = ""
    state: str = ""
    zone: str = ""
    label: str = ""  # key=value, or a key alone
    sort: str = DEFAULT_SORT

    @classmethod
    def of(cls, query: QueryDict) -> Self:
        """What an address says. What makes no sense is left out: a link that is old still shows a list."""

        def word(name: str) -> str:
            return query.get(name, "").replace("\0", "").strip()[:WORDS_MAX]

        state, sort = word("state"), word("sort")
        return cls(
            q=word("q"),
            state=state if state in set(State) else "",
            zone=word("zone"),
            label=word("label"),
            sort=sort if sort.removeprefix("-") in SORTS else DEFAULT_SORT,
        )

    @property
    def filtered(self) -> bool:
        """Whether it leaves anything out."""
        return bool(self.q or self.state or self.zone or self.label)

    @property
    def fields(self) -> dict[str, str]:
        """The parts that say something, by their names in the address."""
        names = ("q", "state", "zone", "label", "sort")
        found = {name: getattr(self, name) for name in names}
        return {n: v for n, v in found.items() if v and (n, v) != ("sort", DEFAULT_SORT)}

    @property
    def query(self) -> str:
        """The address's query, without the question mark."""
        return urlencode(self.fields)

    def with_(self, **changes: str) -> "VMSearch":
        """The search with other parts."""
        return replace(self, **changes)

    def narrow(self, rows: VMQuerySet) -> VMQuerySet:
        """All but the state, whose counts are shown beside each other."""
        if self.q:
            rows = rows.filter(matching(self.q))
        if self.zone:
            rows = rows.filter(zone__name=self.zone)
        if self.label:
            end = "\n" if "=" in self.label else "="
            rows = rows.filter(label_text__contains=f"\n{self.label}{end}")
        return rows

    def order(self, rows: VMQuerySet) -> VMQuerySet:
        """In the order asked for."""
        name = SORTS[self.sort.removeprefix("-")]
        first = f"-{name}" if self.sort.startswith("-") else name
        return rows.order_by(first, "name", "pk")


def matching(words: str) -> Q:
    """VMs by a part of the name, the beginning of the address, or a part of a label; every word has to fit."""
    found = Q()
    for word in words.split()[:5]:
        part = word.casefold()
        found &= Q(name__icontains=part) | Q(address__ip__startswith=part) | Q(label_text__contains=part)
    return found
