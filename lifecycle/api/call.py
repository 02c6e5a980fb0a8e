"""One call of a method: who asks, for which project, with what."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from lifecycle.api.errors import ApiError, invalid, not_found
from lifecycle.api.links import Links
from lifecycle.api.registry import Method
from lifecycle.models import ApiToken, Project, User
from lifecycle.services.places import Place


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler gets. `body` holds no nulls: they say the same as nothing. `address` is its own."""

    method: Method
    place: Place
    token: ApiToken
    path: dict[str, str]
    query: dict[str, str]
    body: dict[str, Any]
    links: Links
    address: str

    @property
    def user(self) -> User:
        """Who asks."""
        return self.place.user

    @property
    def project(self) -> Project:
        """Of which project."""
        return self.place.project

    @property
    def request_id(self) -> UUID | None:
        """The UUID the client chose, if any: the same again does nothing twice."""
        text = self.query.get("requestId", "")
        if not text:
            return None
        try:
            found = UUID(text)
        except ValueError:
            raise invalid("requestId", text, "The value must be a UUID.") from None
        if found.int == 0:
            raise invalid("requestId", text, "The zero UUID is not supported.")
        return found

    def missing(self) -> ApiError:
        """The resource of this call's own address is not there."""
        filled = self.method.path[: self.method.path.rindex("}") + 1]  # without the verb that may follow
        for name, value in self.path.items():
            filled = filled.replace("{" + name + "}", value)
        return not_found(filled)
