"""Members, invitations, accounts, preferences."""

import re
import zoneinfo

import pytest
from django.conf import LazySettings
from django.core import mail
from django.test import Client

from lifecycle.models import Invitation, Membership, Project, User
from lifecycle.services.accounts import time_zones
from tests import factories
from tests.web.conftest import Browser

MEMBERS = "/projects/lab/members/"


def invited_link(client: Client, email: str = "nora@example.org", role: str = "operator") -> str:
    """Invite, and read the link off the page."""
    page = client.post(f"{MEMBERS}invite/", {"email": email, "role": role}).content.decode()
    found = re.search(r'id="invitation-link">[^<]*(/invitations/[^<]+)<', page)
    assert found
    return found[1]


def test_the_link_is_shown_once(as_owner: Client, project: Project) -> None:
    link = invited_link(as_owner)
    page = as_owner.get(MEMBERS).content.decode()
    assert "nora@example.org" in page
    assert link not in page
    assert not mail.outbox


def test_the_link_is_mailed_when_mail_is_on(as_owner: Client, project: Project, settings: LazySettings) -> None:
    settings.MAIL_ENABLED = True
    link = invited_link(as_owner)
    assert mail.outbox[0].to == ["nora@example.org"]
    assert link in mail.outbox[0].body


@pytest.mark.parametrize(("email", "role"), [("", "viewer"), ("nobody", "viewer"), ("a@example.org", "king")])
def test_bad_invitations_are_answered_beside_the_field(
    as_owner: Client, project: Project, email: str, role: str
) -> None:
    response = as_owner.post(f"{MEMBERS}invite/", {"email": email, "role": role})
    assert response.status_code == 400
    assert response.context["form"].errors
    assert not Invitation.objects.exists()


def test_an_operator_may_not_invite(browser: Browser, operator: User, project: Project) -> None:
    response = browser(operator).post(f"{MEMBERS}invite/", {"email": "a@example.org", "role": "owner"})
    assert response.status_code == 403
    assert not Invitation.objects.exists()


def test_only_owners_see_the_buttons(browser: Browser, owner: User, operator: User, project: Project) -> None:
    assert "members/invite/" in browser(owner).get(MEMBERS).content.decode()
    page = browser(operator).get(MEMBERS).content.decode()
    assert "members/invite/" not in page
    assert "/role/" not in page


def test_the_last_owner_stays(as_owner: Client, project: Project, owner: User) -> None:
    me = Membership.objects.get(project=project, user=owner)
    assert as_owner.post(f"{MEMBERS}{me.pk}/role/", {"role": "viewer"}).status_code == 400
    response = as_owner.post(f"{MEMBERS}{me.pk}/remove/")
    assert response.status_code == 400
    assert "needs an owner" in response.content.decode()


def test_a_role_is_changed_and_a_member_removed(as_owner: Client, project: Project, viewer: User) -> None:
    member = Membership.objects.get(project=project, user=viewer)
    as_owner.post(f"{MEMBERS}{member.pk}/role/", {"role": "operator"})
    member.refresh_from_db()
    assert member.role == "operator"
    as_owner.post(f"{MEMBERS}{member.pk}/remove/")
    assert not Membership.objects.filter(pk=member.pk).exists()


def test_leaving_leads_to_the_projects(browser: Browser, viewer: User, project: Project) -> None:
    member = Membership.objects.get(project=project, user=viewer)
    assert browser(viewer).post(f"{MEMBERS}{member.pk}/remove/")["Location"] == "/projects/"


# -- following an invitation -----------------------------------------------------------------------


def test_sign_up_is_closed_without_an_invitation(browser: Browser) -> None:
    response = browser(None).post("/accounts/signup/", {"username": "nora", "password1": "x", "password2": "x"})
    assert "By invitation only" in response.content.decode()
    assert not User.objects.exists()


def test_an_invited_person_makes_an_account_and_is_in(browser: Browser, as_owner: Client, project: Project) -> None:
    client = browser(None)
    link = invited_link(as_owner)
    assert "invited to lab" in client.get(link).content.decode()
    assert "nora@example.org" in client.get("/accounts/signup/?email=nora@example.org").content.decode()
    password = "rather-long-and-odd-1"
    data = {"username": "nora", "email": "nora@example.org", "password1": password, "password2": password}
    response = client.post("/accounts/signup/", data, follow=True)
    assert response.redirect_chain[-1][0] == "/"
    assert 'href="/projects/lab/vms/"' in response.content.decode()
    assert Membership.objects.get(user__username="nora").role == "operator"
    assert "does not work" in browser(None).get(link).content.decode()


def test_a_weak_password_keeps_the_invitation(browser: Browser, as_owner: Client, project: Project) -> None:
    client = browser(None)
    client.get(invited_link(as_owner))
    data = {"username": "nora", "email": "", "password1": "1234", "password2": "1234"}
    page = client.post("/accounts/signup/", data).content.decode()
    assert "at least 10 characters" in page
    assert not User.objects.filter(username="nora").exists()
    assert "Create an account" in client.get("/accounts/signup/").content.decode()


def test_a_person_with_an_account_joins_by_a_button(
    browser: Browser, as_owner: Client, stranger: User, project: Project
) -> None:
    link = invited_link(as_owner)
    client = browser(stranger)
    assert "Join the project" in client.get(link).content.decode()
    assert not Membership.objects.filter(user=stranger, project__slug="lab").exists()  # a GET changes nothing
    assert client.post(link)["Location"] == "/projects/lab/vms/"
    assert client.post(link).status_code == 404  # used


def test_a_revoked_invitation_does_not_work(browser: Browser, as_owner: Client, project: Project) -> None:
    link = invited_link(as_owner)
    as_owner.post(f"{MEMBERS}invitations/{Invitation.objects.get().pk}/revoke/")
    assert browser(None).get(link).status_code == 404


def test_a_wrong_token_is_not_found(browser: Browser) -> None:
    assert browser(None).get("/invitations/wrong/").status_code == 404


# -- accounts ----------------------------------------------------------------------------------------


@pytest.fixture
def newcomer(project: Project) -> User:
    """Somebody with a one-time password."""
    user = factories.make_user("newcomer", password="one-time-pass-0", must_change_password=True)
    factories.add_member(project, user, "viewer")  # type: ignore[arg-type]
    return user


def test_a_one_time_password_leads_to_the_password_form_and_nowhere_else(browser: Browser, newcomer: User) -> None:
    client = browser(newcomer)
    for path in ("/", "/projects/lab/vms/", "/account/preferences/", "/admin/"):
        assert client.get(path)["Location"] == "/accounts/password/change/"
    assert client.get("/projects/lab/vms/", headers={"HX-Request": "true"})["HX-Redirect"]
    assert "one-time password" in client.get("/accounts/password/change/").content.decode()


def test_the_one_time_password_cannot_be_kept(browser: Browser, newcomer: User) -> None:
    data = dict.fromkeys(("oldpassword", "password1", "password2"), "one-time-pass-0")
    page = browser(newcomer).post("/accounts/password/change/", data).content.decode()
    assert "another password" in page
    newcomer.refresh_from_db()
    assert newcomer.must_change_password


def test_a_password_of_one_s_own_opens_the_portal(browser: Browser, newcomer: User) -> None:
    client = browser(newcomer)
    data = {"oldpassword": "one-time-pass-0", "password1": "my-own-words-7", "password2": "my-own-words-7"}
    assert client.post("/accounts/password/change/", data)["Location"] == "/"
    assert client.get("/projects/lab/vms/").status_code == 200


def test_sign_in_by_name_and_by_address(browser: Browser, project: Project) -> None:
    factories.make_user("mia", password="some-good-words")
    for login in ("mia", "mia@example.org"):
        response = browser(None).post("/accounts/login/", {"login": login, "password": "some-good-words"})
        assert (response.status_code, response["Location"]) == (302, "/")


def test_thirty_wrong_passwords_are_slowed_down_with_a_page(browser: Browser, project: Project) -> None:
    factories.make_user("mia", password="some-good-words")
    client = browser(None)
    answers = [client.post("/accounts/login/", {"login": "mia", "password": f"wrong-{n}"}) for n in range(31)]
    assert all(a.status_code in {200, 429} for a in answers)
    assert answers[-1].status_code == 429
    assert answers[-1]["Retry-After"]
    assert "Too many" in answers[-1].content.decode()
    good = client.post("/accounts/login/", {"login": "mia", "password": "some-good-words"})
    assert good.status_code == 429  # the right one is paused, too


def test_sign_out_is_a_post(as_owner: Client, project: Project) -> None:
    assert as_owner.get("/accounts/logout/").status_code == 200
    assert as_owner.get("/projects/").status_code == 200
    as_owner.post("/accounts/logout/")
    assert as_owner.get("/projects/").status_code == 302


# -- preferences ---------------------------------------------------------------------------------------


def test_times_are_shown_in_the_person_s_zone(as_owner: Client, owner: User, vm: object) -> None:
    as_owner.post("/account/preferences/", {"language": "", "time_zone": "Asia/Tokyo"})
    assert " JST" in as_owner.get("/projects/lab/vms/web-1/").content.decode()


def test_the_browser_s_zone_is_used_without_a_choice(as_owner: Client, vm: object) -> None:
    as_owner.cookies["vmportal_time_zone"] = "Asia%2FTokyo"
    assert " JST" in as_owner.get("/projects/lab/vms/web-1/").content.decode()


def test_the_zones_are_not_read_from_the_disk_for_every_page(
    as_owner: Client, vm: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of files each time: as long as the rest of a page."""
    time_zones()

    def read_again() -> set[str]:
        raise AssertionError("the zones were read again")

    monkeypatch.setattr(zoneinfo, "available_timezones", read_again)
    as_owner.cookies["vmportal_time_zone"] = "Asia%2FTokyo"
    for path in ("/projects/lab/vms/web-1/", "/account/preferences/"):
        assert as_owner.get(path).status_code == 200


@pytest.mark.parametrize("name", ["../../etc/passwd", "Mars/Olympus", "\0"])
def test_a_wrong_zone_in_the_cookie_is_ignored(as_owner: Client, vm: object, name: str) -> None:
    as_owner.cookies["vmportal_time_zone"] = name
    assert as_owner.get("/projects/lab/vms/web-1/").status_code == 200


def test_a_wrong_choice_is_refused(as_owner: Client, project: Project) -> None:
    response = as_owner.post("/account/preferences/", {"language": "xx", "time_zone": "Mars/Olympus"})
    assert response.status_code == 400
    assert set(response.context["form"].errors) == {"language", "time_zone"}


def test_the_language_is_switched_and_kept(as_owner: Client, owner: User, project: Project) -> None:
    response = as_owner.post("/account/language/", {"language": "fr", "next": "/projects/"})
    assert response["Location"] == "/projects/"
    owner.refresh_from_db()
    assert owner.language == "fr"
    assert '<html lang="fr"' in as_owner.get("/projects/").content.decode()


def test_nobody_can_switch_the_language_too(browser: Browser) -> None:
    client = browser(None)
    client.post("/account/language/", {"language": "fr"})
    assert '<html lang="fr"' in client.get("/accounts/login/").content.decode()


def test_the_theme_is_kept_in_a_cookie(browser: Browser) -> None:
    client = browser(None)
    client.post("/account/theme/", {"theme": "dark"})
    assert 'data-theme="dark"' in client.get("/accounts/login/").content.decode()
    client.post("/account/theme/", {"theme": "nonsense"})
    assert 'data-theme="dark"' in client.get("/accounts/login/").content.decode()


def test_a_new_project_belongs_to_who_makes_it(as_owner: Client, owner: User, project: Project) -> None:
    response = as_owner.post("/projects/new/", {"slug": "shop", "title": "The shop"})
    assert response["Location"] == "/projects/shop/vms/new/"
    assert Project.objects.get(slug="shop").role_of(owner) == "owner"
    again = as_owner.post("/projects/new/", {"slug": "shop"})
    assert again.status_code == 409
    assert as_owner.post("/projects/new/", {"slug": "Not Good"}).status_code == 400


def test_a_first_visit_leads_to_a_vm_in_three_steps(browser: Browser, catalog: None) -> None:
    """New project, its form, and the form of a VM that only has to be sent: a name is suggested."""
    client = browser(factories.make_user("nina"))
    assert 'href="/projects/new/"' in client.get("/").content.decode()
    form = client.post("/projects/new/", {"slug": "first"}, follow=True)
    assert form.redirect_chain[-1][0] == "/projects/first/vms/new/"
    sent = {name: value for name, value in form.context["form"].initial.items() if value is not None}
    assert sent["name"] == "vm-1"
    response = client.post("/projects/first/vms/new/", sent)
    assert response["Location"] == "/projects/first/vms/vm-1/"
