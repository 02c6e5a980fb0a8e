"""`filter` of a list: AIP-160, and Compute Engine's older `field eq regex` and `field ne regex`."""

import re
import re._parser as parser  # type: ignore[import-not-found]  # what compiles a pattern also takes it apart
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from lifecycle.api.errors import ApiError, invalid

Predicate = Callable[[dict[str, Any]], bool]

_LENGTH_MAX: Final = 4000
_DEPTH_MAX: Final = 30
_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<punct><=|>=|!=|=|<|>|:|\(|\))
      | (?P<word>[^\s"'()<>=!:]+)
    )""",
    re.VERBOSE,
)
_COMPARISONS: Final = frozenset({"=", "!=", "<", "<=", ">", ">=", ":"})
_PATTERN_MAX: Final = 500
#: Of a value, so many characters are compared with a regular expression.
_VALUE_MAX: Final = 200
#: Three times "anything" in a value are still tried within some tens of milliseconds.
_WAYS_MAX: Final = 10.0**7
_ENDLESS: Final = float("inf")
_REPEATS: Final = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})


_LITERAL: Final = re.compile(r"[\w-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Filter:
    """What a resource must be like.

    Attributes:
        passes: whether a resource is.
        equal: fields, and the text that each must be for a resource to pass; there may be further conditions. The
            database can find by them what is then looked at here.
    """

    passes: Predicate
    equal: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, resource: dict[str, Any]) -> bool:
        """Whether the resource passes."""
        return self.passes(resource)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str

    @property
    def value(self) -> str:
        """A string without its quotes, a word as it is."""
        return re.sub(r"\\(.)", r"\1", self.text[1:-1]) if self.kind == "string" else self.text


@lru_cache(maxsize=256)
def parse(text: str) -> Filter:
    """What a resource must be like.

    Raises:
        ApiError: the filter is malformed; the text says where.
    """
    if not text.strip():
        return Filter(lambda _resource: True)
    if len(text) > _LENGTH_MAX:
        raise invalid("filter", text, f"At most {_LENGTH_MAX} characters are possible.")
    try:
        return _Parser(text).filter()
    except RecursionError:
        raise invalid("filter", text, "It is nested too deeply.") from None


class _Parser:
    """Recursive descent over the tokens; `OR` binds closer than `AND`, as AIP-160 says."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = list(self._tokens())
        self.at = 0
        self.depth = 0

    def _tokens(self) -> Iterator[_Token]:
        position = 0
        while self.text[position:].strip():
            found = _TOKEN.match(self.text, position)
            if found is None:
                raise self.wrong(f"Unexpected character at {position}.")
            yield _Token(str(found.lastgroup), found[str(found.lastgroup)])
            position = found.end()

    def wrong(self, why: str) -> ApiError:
        """The refusal of this filter."""
        return invalid("filter", self.text, f"Invalid list filter expression. {why}")

    def peek(self, ahead: int = 0) -> _Token | None:
        """The next token, which stays."""
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else None

    def next(self) -> _Token:
        """The next token."""
        token = self.peek()
        if token is None:
            raise self.wrong("It ends too early.")
        self.at += 1
        return token

    def word(self, *words: str) -> bool:
        """Whether the next token is one of `words`; if so it is taken."""
        token = self.peek()
        if token is not None and token.kind != "string" and token.text in words:
            self.at += 1
            return True
        return False

    def filter(self) -> Filter:
        """The whole."""
        found = self.conjunction()
        if self.peek() is not None:
            raise self.wrong(f"Unexpected '{self.next().text}'.")
        return found

    def conjunction(self) -> Filter:
        """Terms side by side, or with AND: all of them."""
        parts = [self.disjunction()]
        while (token := self.peek()) is not None and token.text != ")":
            self.word("AND")
            parts.append(self.disjunction())
        if len(parts) == 1:
            return parts[0]
        equal = {name: text for part in parts for name, text in part.equal.items()}
        return Filter(lambda resource: all(part(resource) for part in parts), equal)

    def disjunction(self) -> Filter:
        """Terms with OR: one of them."""
        parts = [self.term()]
        while self.word("OR"):
            parts.append(self.term())
        return parts[0] if len(parts) == 1 else Filter(lambda resource: any(part(resource) for part in parts))

    def term(self) -> Filter:
        """A comparison or a group, perhaps with NOT or - before it."""
        self.depth += 1
        if self.depth > _DEPTH_MAX:
            raise self.wrong("It is nested too deeply.")
        found = self._term()
        self.depth -= 1
        return found

    def _term(self) -> Filter:
        if self.word("NOT", "-"):
            inner = self.term()
            return Filter(lambda resource: not inner(resource))
        if self.word("("):
            inner = self.conjunction()
            if not self.word(")"):
                raise self.wrong("A ')' is missing.")
            return inner
        return self.comparison()

    def comparison(self) -> Filter:
        """`field = value`, or `field eq regex`."""
        name = self.next()
        negated = name.kind == "word" and name.text.startswith("-") and len(name.text) > 1
        path = name.value[1:] if negated else name.value
        if self.word("eq", "ne"):
            operator = self.tokens[self.at - 1].text
            found = _matches(path, operator == "ne", self._pattern(self._old_value()))
        elif (token := self.peek()) is not None and token.text in _COMPARISONS and token.kind == "punct":
            found = _compares(path, self.next().text, self._value())
        elif name.kind == "punct":
            raise self.wrong(f"Unexpected '{name.text}'.")
        else:
            raise self.wrong(f"After '{path}' a comparison is missing, such as = or eq.")
        return Filter(lambda resource: not found(resource)) if negated else found

    def _value(self) -> str:
        token = self.next()
        if token.kind == "punct":
            raise self.wrong(f"Unexpected '{token.text}'.")
        # A time or an address holds colons: they belong to it.
        text = token.value
        while token.kind == "word" and (more := self.peek()) is not None and more.text == ":" and self.peek(1):
            text += ":" + self.tokens[self.at + 1].value
            self.at += 2
        return text

    def _old_value(self) -> str:
        """A regular expression: quoted, or everything up to a space or the ) that closes the group."""
        token = self.next()
        if token.kind == "string":  # its other backslashes belong to the expression
            quote = token.text[0]
            return token.text[1:-1].replace(f"\\{quote}", quote)
        start = self.text.find(token.text, self._offset(self.at - 1))
        depth, end = 0, start
        while end < len(self.text) and not self.text[end].isspace():
            depth += {"(": 1, ")": -1}.get(self.text[end], 0)
            if depth < 0:
                break
            end += 1
        while self.at < len(self.tokens) and self._offset(self.at) < end:
            self.at += 1
        return self.text[start:end]

    def _offset(self, index: int) -> int:
        """Where the token of that index begins."""
        position = 0
        for number, _token in enumerate(self.tokens):
            found = _TOKEN.match(self.text, position)
            if found is None or number == index:
                return len(self.text) if found is None else found.start(str(found.lastgroup))
            position = found.end()
        return len(self.text)

    def _pattern(self, text: str) -> re.Pattern[str]:
        if not is_harmless(text):
            raise self.wrong(
                "The regular expression is malformed, or could take too long: it repeats what repeats, or too often."
            )
        return re.compile(text)


def is_harmless(pattern: str) -> bool:
    """Whether a regular expression is well-formed and comes to an end soon, whatever it is matched with.

    Counted are the ways in which it may be tried on one value before it fails.
    """
    if len(pattern) > _PATTERN_MAX:
        return False
    try:
        return _ways(parser.parse(pattern)) <= _WAYS_MAX
    except (re.error, OverflowError, RecursionError):
        return False


def _ways(parsed: Any) -> float:
    """At the most: one after the other multiplies, a choice adds, a repetition does both."""
    ways = 1.0
    for operation, argument in parsed:
        name = str(operation)
        if name in _REPEATS:
            ways *= _ways_of_repeat(*argument)
        elif name == "BRANCH":
            ways *= sum(_ways(choice) for choice in argument[1])
        elif name in {"GROUPREF", "GROUPREF_EXISTS", "ASSERT", "ASSERT_NOT"}:
            return _ENDLESS
        elif name == "SUBPATTERN":
            ways *= _ways(argument[-1])
        elif name == "ATOMIC_GROUP":
            ways *= _ways(argument)
    return ways


def _ways_of_repeat(least: int, most: int, inside: Any) -> float:
    """What is repeated has as many ways each time; and each number of times is one more."""
    least, most = min(int(least), _VALUE_MAX), min(int(most), _VALUE_MAX)
    each = _ways(inside)
    if each == 1:
        return most - least + 1
    return sum((each**times for times in range(least, most + 1)), 0.0) if each**most < _WAYS_MAX else _ENDLESS


# -- comparing -------------------------------------------------------------------------------------


def values_of(resource: Any, path: str) -> list[Any]:
    """What stands under a dotted path; a list on the way stands for each of its members."""
    found = [resource]
    for word in path.split("."):
        found = [item[word] for item in _members(found) if isinstance(item, dict) and word in item]
    return list(_members(found))


def _members(values: list[Any]) -> Iterator[Any]:
    for value in values:
        if isinstance(value, list):
            yield from value
        else:
            yield value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _matches(path: str, negated: bool, pattern: re.Pattern[str]) -> Filter:
    def run(resource: dict[str, Any]) -> bool:
        values = [_text(value)[:_VALUE_MAX] for value in values_of(resource, path) if not isinstance(value, dict)]
        return any(pattern.fullmatch(value) for value in values or [""]) is not negated

    plain = not negated and _LITERAL.fullmatch(pattern.pattern) and len(pattern.pattern) < _VALUE_MAX
    return Filter(run, {path: pattern.pattern} if plain else {})


def _compares(path: str, operator: str, wanted: str) -> Filter:
    if operator == ":":
        return Filter(lambda resource: any(_has(value, wanted) for value in values_of(resource, path)))
    if operator == "!=":
        return Filter(lambda resource: not any(_equals(value, wanted) for value in values_of(resource, path)))
    if operator == "=":
        equal = {} if "*" in wanted else {path: wanted}
        return Filter(lambda resource: any(_equals(value, wanted) for value in values_of(resource, path)), equal)
    return Filter(lambda resource: any(_ordered(value, operator, wanted) for value in values_of(resource, path)))


def _equals(value: Any, wanted: str) -> bool:
    text = _text(value)
    if isinstance(value, bool):
        return text == wanted.lower()
    if "*" in wanted:
        pieces = wanted.lower().split("*")
        return _glob(text.lower(), pieces)
    return text == wanted


def _glob(text: str, pieces: list[str]) -> bool:
    """Whether `text` is the pieces in order with anything between them; in linear time."""
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def _has(value: Any, wanted: str) -> bool:
    if wanted == "*":
        return value not in (None, "", [], {})
    if isinstance(value, dict):
        return wanted in value
    if isinstance(value, bool):
        return _equals(value, wanted)
    return _glob(_text(value).lower(), ["", *wanted.strip("*").lower().split("*"), ""])


def _ordered(value: Any, operator: str, wanted: str) -> bool:
    left, right = _comparable(value, wanted)
    return bool({"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[operator])


def _comparable(value: Any, wanted: str) -> tuple[Any, Any]:
    """Both as numbers, else both as moments, else both as texts."""
    for read in (float, _moment):
        try:
            return read(value), read(wanted)
        except (TypeError, ValueError):
            continue
    return _text(value), wanted


def _moment(text: str) -> datetime:
    """A time in any offset; a day is its beginning, in UTC as all that says nothing else."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
