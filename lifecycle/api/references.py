"""References to resources, in every form that the clients write."""

from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import unquote, urlsplit

from lifecycle.api.errors import invalid


@dataclass(frozen=True, slots=True)
class Reference:
    """What a reference names; the others but `name` are empty where it does not say."""

    name: str
    collection: str = ""
    zone: str = ""
    project: str = ""
    region: str = ""
    is_family: bool = False


def parse(text: object, field: str) -> Reference:
    """A full URL on any host, `projects/…`, `zones/…`, `global/…`, with or without a leading slash, or a bare name.

    Raises:
        ApiError: it is none of these.
    """
    if not isinstance(text, str) or not text.strip() or len(text) > 1000:
        raise invalid(field, text, "The URL is malformed.")
    try:
        path = urlsplit(text).path if "://" in text else text
    except ValueError:  # a bracket that is no IPv6 address
        raise invalid(field, text, "The URL is malformed.") from None
    words = [unquote(word) for word in path.strip("/").split("/")]
    for marker in ("v1", "beta", "alpha"):
        if "compute" in words and marker in words[words.index("compute") :]:
            words = words[words.index(marker) + 1 :]
    if not all(words):
        raise invalid(field, text, "The URL is malformed.")
    if len(words) == 1:
        return Reference(words[0])
    scope = dict(pairwise(words))
    zone = scope.get("zones", "")
    project = scope.get("projects", "")
    if words[-2] == "imageFamilyViews" or words[-2:-1] == ["family"]:
        return Reference(words[-1], "images", zone, project, is_family=True)
    return Reference(words[-1], words[-2], zone, project, scope.get("regions", ""))


def named(text: object, field: str, collection: str) -> Reference:
    """A reference to one of `collection`, or a bare name of it."""
    found = parse(text, field)
    if found.collection not in {"", collection}:
        raise invalid(field, text, f"The URL is malformed. It must name one of {collection}.")
    return found
