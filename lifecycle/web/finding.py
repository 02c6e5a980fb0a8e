"""Finding things: everything a person may see, by name, address or label; and the pages of the portal.

Each kind is one query that is bounded, whatever the installation holds. What is found is authorised by the same
`visible_to` as the pages themselves.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from django.db.models import Q
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from lifecycle.models import VM, Host, Project, User
from lifecycle.web.vm_search import matching

#: Of each kind; more words find the rest.
SHOWN: Final = 8

Text = str | Promise


@dataclass(frozen=True, slots=True)
class Hit:
    """One thing that was found. `state` is a VM's."""

    title: Text
    url: str
    icon: str
    detail: Text = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Hits of one kind; `more` says that there are others."""

    title: Text
    hits: list[Hit] = field(default_factory=list)
    more: bool = False


def find(user: User, words: str, project: Project | None = None) -> list[Group]:
    """What fits: pages of the portal first, then VMs and projects; hosts for operators. Three queries."""
    words = " ".join(words.split())
    groups = [_pages(user, words, project)]
    if words:
        groups += [_vms(user, words, project), _projects(user, words)]
        if user.is_staff:
            groups.append(_hosts(words))
    return [group for group in groups if group.hits]


def _vms(user: User, words: str, project: Project | None) -> Group:
    """Those of the project one is in come first."""
    rows = VM.objects.live().visible_to(user).filter(matching(words)).select_related("project", "address")
    found = list(rows.order_by("name", "pk")[: SHOWN + 1])
    if project is not None:
        found.sort(key=lambda vm: vm.project_id != project.pk)
    hits = [
        Hit(vm.name, reverse("web:vm", args=[vm.project.slug, vm.name]), "server", _about(vm), vm.state)
        for vm in found[:SHOWN]
    ]
    return Group(_("VMs"), hits, len(found) > SHOWN)


def _about(vm: VM) -> str:
    address = getattr(vm, "address", None)
    labels = ", ".join(f"{key}={value}" for key, value in list(vm.labels.items())[:3])
    return " · ".join(part for part in (vm.project.slug, address.ip if address else "", labels) if part)


def _projects(user: User, words: str) -> Group:
    rows = Project.objects.visible_to(user).filter(Q(slug__icontains=words) | Q(title__icontains=words))
    found = list(rows.distinct()[: SHOWN + 1])
    hits = [Hit(p.slug, reverse("web:vms", args=[p.slug]), "folder", p.title) for p in found[:SHOWN]]
    return Group(_("Projects"), hits, len(found) > SHOWN)


def _hosts(words: str) -> Group:
    rows = Host.objects.filter(Q(name__icontains=words) | Q(uri__icontains=words)).select_related("zone")
    found = list(rows.order_by("name")[: SHOWN + 1])
    hits = [
        Hit(host.name, reverse("admin:lifecycle_host_change", args=[host.pk]), "hard-drive", host.zone.name)
        for host in found[:SHOWN]
    ]
    return Group(_("Hosts"), hits, len(found) > SHOWN)


# -- pages ---------------------------------------------------------------------------------------


def _pages(user: User, words: str, project: Project | None) -> Group:
    hits = [hit for hit in _all_pages(user, project) if _fits(hit, words)]
    return Group(_("Go to"), hits[:12])


def _fits(hit: Hit, words: str) -> bool:
    text = f"{hit.title} {hit.detail}".casefold()
    return all(word in text for word in words.casefold().split())


def _all_pages(user: User, project: Project | None) -> Iterator[Hit]:
    if project is not None:
        yield from (Hit(title, url(project.slug), icon, project.slug) for title, url, icon in _IN_PROJECT)
    yield Hit(_("Overview"), reverse("web:home"), "layout-dashboard")
    yield Hit(_("Projects"), reverse("web:projects"), "folder")
    yield Hit(_("New project"), reverse("web:project-new"), "plus")
    yield Hit(_("Preferences"), reverse("web:preferences"), "settings")
    yield Hit(_("Change password"), reverse("account_change_password"), "key-round")
    if user.is_staff:
        yield Hit(_("Hosts and queue"), reverse("web:operators"), "gauge", gettext("for operators"))
        yield Hit(_("Administration"), reverse("admin:index"), "wrench", gettext("for operators"))


def _to(name: str) -> Callable[[str], str]:
    return lambda slug: reverse(f"web:{name}", args=[slug])


#: The pages of a project, with their icons.
_IN_PROJECT: Final[tuple[tuple[Text, Callable[[str], str], str], ...]] = (
    (_("VMs"), _to("vms"), "server"),
    (_("Create VM"), _to("vm-new"), "plus"),
    (_("Operations"), _to("operations"), "activity"),
    (_("Members"), _to("members"), "users"),
    (_("Webhooks"), _to("webhooks"), "webhook"),
    (_("Audit log"), _to("audit"), "scroll-text"),
)
