"""Saved views: one person's searches of a project's list of VMs, by name."""

from typing import Final

from lifecycle.domain.errors import InvalidInput, NotFound
from lifecycle.models import Project, SavedView, User
from lifecycle.services.db import service

MOST: Final = 30
NAME_MAX: Final = 40


@service
def save(project: Project, name: str, query: str, *, user: User) -> SavedView:
    """Keep a search under a name; a name that is known gets the new search.

    Raises:
        InvalidInput: no name, one that is too long, nothing to keep, or too many views.
        NotFound: the user is a stranger to the project.
    """
    if project.role_of(user) is None:
        raise NotFound("There is no such project.")
    name = " ".join(name.replace("\0", "").split())
    if not name or len(name) > NAME_MAX:
        raise InvalidInput("Give the view a name of at most %(most)s characters.", field="name", most=NAME_MAX)
    if not query or len(query) > SavedView.QUERY_MAX:
        raise InvalidInput("Search, filter or sort the list first: the view keeps what you chose.")
    mine = SavedView.objects.filter(user=user, project=project)
    if mine.exclude(name=name).count() >= MOST:
        raise InvalidInput("You have %(most)s views of this project already. Remove one first.", most=MOST)
    view, _made = SavedView.objects.update_or_create(user=user, project=project, name=name, defaults={"query": query})
    return view


@service
def remove(project: Project, view_id: int, *, user: User) -> None:
    """Forget a view of one's own; one that is gone already is no error."""
    SavedView.objects.filter(project=project, user=user, pk=view_id).delete()
