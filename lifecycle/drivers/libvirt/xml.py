"""Building XML: lxml's builder, with types. Text never becomes markup."""

from collections.abc import Callable
from typing import Any, Final, cast

from lxml import builder as _builder  # type: ignore[attr-defined]  # lxml-stubs leave it out
from lxml import etree

Element = etree._Element  # noqa: SLF001  # lxml's public elements have this type and no other name


class Maker:
    """`maker.tag(*children, **attributes)`, or `maker("a-tag", …)` for names that are not Python's."""

    def __init__(self, namespace: str | None = None, prefix: str | None = None) -> None:
        self._make = _builder.ElementMaker(namespace=namespace, nsmap={prefix: namespace} if namespace else None)

    def __call__(self, tag: str, *children: Element | str, **attributes: str) -> Element:
        return cast(Element, self._make(tag, *children, **attributes))

    def __getattr__(self, tag: str) -> Callable[..., Element]:
        return cast("Callable[..., Element]", getattr(self._make, tag))


E: Final = Maker()


def to_text(element: Element) -> str:
    """The element as libvirt takes it."""
    return etree.tostring(element, encoding="unicode", with_tail=False)


def parse(text: str) -> Element:
    """What libvirt gave. Its XML is our own host's, and names no external entities."""
    return etree.fromstring(text.encode(), etree.XMLParser(resolve_entities=False, no_network=True))


def described(thing: Any, flags: int = 0) -> Element:
    """The description of a libvirt object."""
    return parse(thing.XMLDesc(flags))
