"""Every method of the API, declared once: the router, the OpenAPI document and the tests read it here."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from lifecycle.api.call import Call

Handler = Callable[["Call"], Mapping[str, Any]]

#: The query parameters of every list.
LIST_PARAMETERS: Final = ("filter", "maxResults", "orderBy", "pageToken", "returnPartialSuccess")
#: A name in an address; also a number, which stands for the resource's id.
_SEGMENT: Final = r"([^/]{1,200})"


@dataclass(frozen=True, slots=True)
class Method:
    """One method.

    Attributes:
        id: Compute Engine's name without its prefix, such as `instances.get`.
        verb: of HTTP.
        path: below /compute/v1/, its parameters in braces.
        answer: the type of its answer.
        body: the type of its request; None when it has none.
        query: its own query parameters.
        writes: whether it needs a token that may write.
        summary: one line for readers.
    """

    id: str
    verb: str
    path: str
    handler: Handler
    answer: type
    body: type | None = None
    query: tuple[str, ...] = ()
    writes: bool = False
    summary: str = ""
    pattern: re.Pattern[str] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        pattern = re.sub(r"\{\w+\}", lambda _name: _SEGMENT, self.path)
        object.__setattr__(self, "pattern", re.compile(pattern))

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names in its path."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))


METHODS: Final[dict[str, Method]] = {}


def method(
    name: str,
    verb: str,
    path: str,
    answer: type,
    *,
    body: type | None = None,
    query: tuple[str, ...] = (),
    writes: bool | None = None,
) -> Callable[[Handler], Handler]:
    """Declare the decorated handler as the method `name`. What is no GET writes, unless it says otherwise."""

    def declare(handler: Handler) -> Handler:
        if name in METHODS:
            raise AssertionError(f"{name} is declared twice")
        summary = (handler.__doc__ or "").strip().splitlines()[0]
        changes = verb != "GET" if writes is None else writes
        METHODS[name] = Method(name, verb, path, handler, answer, body, query, changes, summary)
        return handler

    return declare


def find(verb: str, path: str) -> tuple[Method | None, dict[str, str], set[str]]:
    """The method of an address, the values in the address, and the verbs it takes (empty: no such address)."""
    verbs: set[str] = set()
    for candidate in METHODS.values():
        if found := candidate.pattern.fullmatch(path):
            if candidate.verb == verb:
                return candidate, dict(zip(candidate.parameters, found.groups(), strict=True)), {verb}
            verbs.add(candidate.verb)
    return None, {}, verbs
