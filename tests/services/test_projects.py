"""Projects, members, invitations: who may do what, and that a project is never without an owner."""

from datetime import timedelta

import pytest
from django.utils import timezone

from lifecycle.domain.access import Role
from lifecycle.domain.errors import DomainError, Forbidden, InvalidInput, NameTaken, NotFound
from lifecycle.models import Invitation, Membership, Network, Project, Quota, User
from lifecycle.services import projects
from tests import factories
from tests.services.tools import refusal

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db]


def role_of(project: Project, user: User) -> str | None:
    return Membership.objects.filter(project=project, user=user).values_list("role", flat=True).first()


# -- projects ------------------------------------------------------------------------------------


def test_a_project_is_made_with_quota_network_and_owner(owner: User) -> None:
    made = projects.create_project("shop", "  The shop ", owner=owner)
    assert made.title == "The shop"
    assert Quota.objects.get(project=made).vms == 20
    assert Network.objects.get(project=made).cidr.startswith("10.")
    assert role_of(made, owner) == Role.OWNER


@pytest.mark.parametrize("slug", ["", "Shop", "1shop", "shop-", "a b", "../x", "<b>", "größe", "a" * 41])
def test_a_bad_name_is_refused(owner: User, slug: str) -> None:
    with refusal(InvalidInput) as refused:
        projects.create_project(slug, owner=owner)
    assert refused.value.field == "slug"


def test_a_name_is_given_once(project: Project, owner: User) -> None:
    with refusal(NameTaken, match="already a project called lab"):
        projects.create_project("lab", owner=owner)


def test_networks_of_projects_do_not_overlap(owner: User) -> None:
    made = [projects.create_project(f"p-{n}", owner=owner) for n in range(4)]
    assert len({project.network.cidr for project in made}) == 4
    assert len({project.network.bridge for project in made}) == 4
    assert all(len(project.network.bridge) <= 15 for project in made)


# -- invitations ---------------------------------------------------------------------------------


def test_an_invitation_admits_who_has_its_secret(project: Project, owner: User) -> None:
    _invitation, token = projects.invite(project, "New@Example.org", "operator", user=owner)
    guest = factories.make_user()
    membership = projects.accept_invitation(token, user=guest)
    assert (membership.project, membership.role) == (project, Role.OPERATOR)


def test_the_secret_is_not_stored(project: Project, owner: User) -> None:
    invitation, token = projects.invite(project, "new@example.org", "viewer", user=owner)
    assert token not in str(Invitation.objects.filter(pk=invitation.pk).values().get())


def test_an_invitation_is_used_once(project: Project, owner: User) -> None:
    _invitation, token = projects.invite(project, "new@example.org", "viewer", user=owner)
    projects.accept_invitation(token, user=factories.make_user())
    with refusal(NotFound, match="used or has expired"):
        projects.accept_invitation(token, user=factories.make_user())
    assert projects.find_invitation(token) is None


def test_an_invitation_expires(project: Project, owner: User) -> None:
    _invitation, token = projects.invite(project, "new@example.org", "viewer", user=owner)
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert projects.find_invitation(token) is None
    with refusal(NotFound):
        projects.accept_invitation(token, user=factories.make_user())


def test_a_wrong_secret_admits_nobody(project: Project) -> None:
    with refusal(NotFound):
        projects.accept_invitation("guessed", user=factories.make_user())


def test_a_member_keeps_the_larger_role(project: Project, owner: User, operator: User) -> None:
    _invitation, token = projects.invite(project, operator.email, "viewer", user=owner)
    projects.accept_invitation(token, user=operator)
    assert role_of(project, operator) == Role.OPERATOR


def test_a_member_may_rise_by_an_invitation(project: Project, owner: User, viewer: User) -> None:
    _invitation, token = projects.invite(project, viewer.email, "operator", user=owner)
    projects.accept_invitation(token, user=viewer)
    assert role_of(project, viewer) == Role.OPERATOR


def test_an_invitation_that_was_taken_back_admits_nobody(project: Project, owner: User) -> None:
    invitation, token = projects.invite(project, "new@example.org", "viewer", user=owner)
    projects.revoke_invitation(project, invitation.pk, user=owner)
    with refusal(NotFound):
        projects.accept_invitation(token, user=factories.make_user())


def test_an_invitation_of_another_project_cannot_be_taken_back(project: Project, owner: User, stranger: User) -> None:
    invitation, token = projects.invite(project, "new@example.org", "viewer", user=owner)
    elsewhere = Project.objects.get(slug="elsewhere")
    projects.revoke_invitation(elsewhere, invitation.pk, user=stranger)
    assert projects.find_invitation(token) == invitation


@pytest.mark.parametrize("email", ["", "nobody", "a@", "a b@example.org", "x" * 300 + "@example.org"])
def test_what_is_no_mail_address_is_refused(project: Project, owner: User, email: str) -> None:
    with refusal(InvalidInput) as refused:
        projects.invite(project, email, "viewer", user=owner)
    assert refused.value.field == "email"


@pytest.mark.parametrize("role", ["", "king", "OWNER"])
def test_an_unknown_role_is_refused(project: Project, owner: User, viewer: User, role: str) -> None:
    with refusal(InvalidInput):
        projects.invite(project, "new@example.org", role, user=owner)
    with refusal(InvalidInput):
        projects.set_role(project, viewer, role, user=owner)


# -- members -------------------------------------------------------------------------------------


def test_an_owner_changes_roles(project: Project, owner: User, viewer: User) -> None:
    projects.set_role(project, viewer, "operator", user=owner)
    assert role_of(project, viewer) == Role.OPERATOR


def test_the_last_owner_stays_owner(project: Project, owner: User) -> None:
    with refusal(InvalidInput, match="needs an owner"):
        projects.set_role(project, owner, "viewer", user=owner)
    with refusal(InvalidInput, match="needs an owner"):
        projects.remove_member(project, owner, user=owner)


def test_one_of_two_owners_may_go(project: Project, owner: User, operator: User) -> None:
    projects.set_role(project, operator, "owner", user=owner)
    projects.remove_member(project, owner, user=owner)
    assert role_of(project, owner) is None


def test_everybody_may_leave(project: Project, viewer: User) -> None:
    projects.remove_member(project, viewer, user=viewer)
    assert role_of(project, viewer) is None


def test_a_stranger_cannot_be_removed(project: Project, owner: User, stranger: User) -> None:
    with refusal(NotFound):
        projects.remove_member(project, stranger, user=owner)


@pytest.mark.parametrize(
    ("who", "error"), [("operator", Forbidden), ("viewer", Forbidden), ("stranger", NotFound)]
)  # fmt: skip
def test_members_are_managed_by_owners_alone(
    project: Project, viewer: User, request: pytest.FixtureRequest, who: str, error: type[DomainError]
) -> None:
    user = request.getfixturevalue(who)
    other = factories.make_user()
    factories.add_member(project, other, Role.VIEWER)
    with refusal(error):
        projects.invite(project, "new@example.org", "owner", user=user)
    with refusal(error):
        projects.set_role(project, other, "owner", user=user)
    with refusal(error):
        projects.remove_member(project, other, user=user)
    with refusal(error):
        projects.revoke_invitation(project, 1, user=user)


# -- who sees what -------------------------------------------------------------------------------


def test_a_project_is_visible_to_its_members_and_superusers(
    project: Project, owner: User, viewer: User, stranger: User, superuser: User
) -> None:
    assert project in Project.objects.visible_to(owner)
    assert project in Project.objects.visible_to(viewer)
    assert project in Project.objects.visible_to(superuser)
    assert project not in Project.objects.visible_to(stranger)


def test_vms_are_visible_as_their_project_is(project: Project, host: object, viewer: User, stranger: User) -> None:
    from lifecycle.models import VM

    vm = factories.make_vm(project)
    assert vm in VM.objects.visible_to(viewer)
    assert vm not in VM.objects.visible_to(stranger)


def test_who_was_switched_off_sees_nothing(project: Project, owner: User) -> None:
    owner.is_active = False
    assert not Project.objects.visible_to(owner).exists()
    assert project.role_of(owner) is None
