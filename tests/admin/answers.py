"""Reading what a page of the admin answered."""

from typing import Any


def messages_of(response: Any) -> list[tuple[str, str]]:
    """The messages this response's request made, as (level, text); earlier unread ones are left out."""
    return [(m.level_tag, str(m)) for m in response.wsgi_request._messages._queued_messages]
