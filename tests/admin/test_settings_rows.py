"""What operators may set: hosts' limits, machine types, images, projects, quotas, people."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from lifecycle.domain.states import State
from lifecycle.models import VM, Host, Image, Invitation, MachineType, Membership, Network, Project, Quota, User, Zone
from lifecycle.services import capacity, projects
from tests import factories
from tests.admin.answers import messages_of

HOST_FIELDS = {
    "memory_mib_kept": 1024,
    "cpu_overcommit_percent": 800,
    "memory_overcommit_percent": 100,
    "disk_overcommit_percent": 200,
    "schedulable": "on",
}


def errors(response: Any) -> dict[str, Any]:
    """The form's errors."""
    return dict(response.context["adminform"].form.errors)


def act(browser: Client, model: str, action: str, row: Any) -> list[str]:
    """Run a list action on one row; the messages' levels."""
    url = reverse(f"admin:lifecycle_{model}_changelist")
    response = browser.post(url, {"action": action, "_selected_action": [row.pk]})
    return [level for level, _text in messages_of(response)]


# -- hosts ---------------------------------------------------------------------------------------


def test_a_host_is_taken_out_of_placement_and_in_again(admin_client: Client, host: Host) -> None:
    assert act(admin_client, "host", "take_out", host) == ["success"]
    host.refresh_from_db()
    assert not host.schedulable
    act(admin_client, "host", "take_in", host)
    host.refresh_from_db()
    assert host.schedulable


def test_a_hosts_page_says_why_it_emulates(admin_client: Client, zone: Zone) -> None:
    host = factories.make_host("slow", zone=zone, domain_type_reason="KVM opens, but a guest does not run.")
    page = admin_client.get(reverse("admin:lifecycle_host_change", args=[host.pk])).content.decode()
    assert "KVM opens, but a guest does not run." in page


def test_limits_change_and_observed_values_do_not(admin_client: Client, host: Host) -> None:
    url = reverse("admin:lifecycle_host_change", args=[host.pk])
    data = {**HOST_FIELDS, "zone": host.zone_id, "cpu_overcommit_percent": 400, "vcpus_total": 999, "vcpus_reserved": 7}
    assert admin_client.post(url, data).status_code == 302
    host.refresh_from_db()
    assert (host.cpu_overcommit_percent, host.vcpus_total, host.vcpus_reserved) == (400, 8, 0)


def test_a_limit_below_what_is_reserved_is_refused_at_its_field(
    admin_client: Client, host: Host, make_vm: Callable[..., VM]
) -> None:
    vm = make_vm("web-1", State.RUNNING)
    capacity.reserve(vm)
    url = reverse("admin:lifecycle_host_change", args=[host.pk])
    response = admin_client.post(url, {**HOST_FIELDS, "zone": host.zone_id, "cpu_overcommit_percent": 1})
    assert "cpu_overcommit_percent" in errors(response)
    host.refresh_from_db()
    assert host.cpu_overcommit_percent == 800


def test_a_host_cannot_be_added_or_deleted_here(admin_client: Client, host: Host) -> None:
    assert admin_client.get(reverse("admin:lifecycle_host_add")).status_code == 403
    assert admin_client.post(reverse("admin:lifecycle_host_delete", args=[host.pk]), {"post": "yes"}).status_code == 403


# -- machine types and images --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vcpus", "memory", "field"),
    [
        ("0", "128", "vcpus"),
        ("-2", "128", "vcpus"),
        ("65", "128", "vcpus"),
        ("1", "2097152", "memory_mib"),  # 2 TB
        ("1", "-1", "memory_mib"),
        ("1", "0", "memory_mib"),
        ("1", "99999999999999999999", "memory_mib"),
        ("one", "128", "vcpus"),
    ],
)
def test_an_impossible_size_is_refused_at_its_field(admin_client: Client, vcpus: str, memory: str, field: str) -> None:
    data = {"name": "odd", "family": "odd", "vcpus": vcpus, "memory_mib": memory}
    response = admin_client.post(reverse("admin:lifecycle_machinetype_add"), data)
    assert response.status_code == 200
    assert field in errors(response)
    assert not MachineType.objects.filter(name="odd").exists()


def test_a_machine_type_is_added(admin_client: Client) -> None:
    data = {"name": "big-8", "family": "standard", "vcpus": "8", "memory_mib": "16384"}
    assert admin_client.post(reverse("admin:lifecycle_machinetype_add"), data).status_code == 302
    assert MachineType.objects.get(name="big-8").vcpus == 8


def test_the_size_of_a_type_in_use_stays(
    admin_client: Client, machine_type: MachineType, make_vm: Callable[..., VM]
) -> None:
    make_vm("web-1")
    url = reverse("admin:lifecycle_machinetype_change", args=[machine_type.pk])
    admin_client.post(url, {"family": "small", "vcpus": "2", "memory_mib": "256"})
    machine_type.refresh_from_db()
    assert (machine_type.family, machine_type.vcpus, machine_type.memory_mib) == ("small", 1, 128)


def test_one_type_is_the_default_and_cannot_be_retired(admin_client: Client, machine_type: MachineType) -> None:
    other = MachineType.objects.create(name="other", family="x", vcpus=1, memory_mib=256)
    assert act(admin_client, "machinetype", "retire", machine_type) == ["error"]
    assert act(admin_client, "machinetype", "make_default", other) == ["success"]
    assert MachineType.objects.get(is_default=True) == other
    assert act(admin_client, "machinetype", "retire", machine_type) == ["success"]
    assert act(admin_client, "machinetype", "make_default", machine_type) == ["error"]


def test_an_image_is_deprecated_and_offered_again(admin_client: Client, image: Image) -> None:
    act(admin_client, "image", "deprecate", image)
    image.refresh_from_db()
    assert image.status == Image.Status.DEPRECATED
    act(admin_client, "image", "offer", image)
    image.refresh_from_db()
    assert image.status == Image.Status.READY


def test_an_images_checksum_cannot_be_written(admin_client: Client, image: Image) -> None:
    url, checksum = reverse("admin:lifecycle_image_change", args=[image.pk]), image.sha256
    admin_client.post(url, {"description": "Small and quick", "sha256": "f" * 64, "file_name": "/etc/passwd"})
    image.refresh_from_db()
    assert (image.description, image.sha256, image.file_name) == ("Small and quick", checksum, "tiny.qcow2")


# -- projects ------------------------------------------------------------------------------------


def forms_of(project: Project) -> dict[str, Any]:
    """What the project's page sends when nothing was changed."""
    data: dict[str, Any] = {"title": project.title, "slug": project.slug}
    members = list(Membership.objects.filter(project=project).order_by("user__username"))
    data |= {"memberships-TOTAL_FORMS": len(members), "memberships-INITIAL_FORMS": len(members)}
    for i, member in enumerate(members):
        data |= {f"memberships-{i}-id": member.pk, f"memberships-{i}-project": project.pk}
        data |= {f"memberships-{i}-user": member.user_id, f"memberships-{i}-role": member.role}
    quota = Quota.objects.get(project=project)
    data |= {"quota-TOTAL_FORMS": 1, "quota-INITIAL_FORMS": 1, "quota-0-id": quota.pk, "quota-0-project": project.pk}
    data |= {f"quota-0-{name}": getattr(quota, name) for name in ("vms", "vcpus", "memory_mib", "disk_gib")}
    return data


def test_a_new_project_is_whole(admin_client: Client, superuser: User) -> None:
    assert (
        admin_client.post(reverse("admin:lifecycle_project_add"), {"slug": "green", "title": "Green"}).status_code
        == 302
    )
    project = Project.objects.get(slug="green")
    assert Quota.objects.filter(project=project).exists()
    assert Network.objects.filter(project=project).exists()
    assert project.role_of(superuser) == "owner"


def test_a_bad_project_name_is_answered(admin_client: Client) -> None:
    response = admin_client.post(reverse("admin:lifecycle_project_add"), {"slug": "-Green-", "title": ""}, follow=True)
    assert response.status_code == 200
    assert not Project.objects.exists()
    assert "small letters" in response.content.decode()


def test_members_and_quota_change_through_the_services(admin_client: Client, project: Project) -> None:
    person = factories.make_user("grace")
    data = forms_of(project) | {
        "memberships-TOTAL_FORMS": 2,
        "memberships-1-project": project.pk,
        "memberships-1-user": person.pk,
        "memberships-1-role": "viewer",
        "quota-0-vms": 3,
    }
    url = reverse("admin:lifecycle_project_change", args=[project.pk])
    assert admin_client.post(url, data).status_code == 302
    assert project.role_of(person) == "viewer"
    assert Quota.objects.get(project=project).vms == 3
    index = [m.user_id for m in Membership.objects.filter(project=project).order_by("user__username")].index(person.pk)
    admin_client.post(url, forms_of(project) | {f"memberships-{index}-role": "operator"})
    assert project.role_of(person) == "operator"
    admin_client.post(url, forms_of(project) | {f"memberships-{index}-DELETE": "on"})
    assert project.role_of(person) is None


def test_the_last_owner_stays(admin_client: Client, project: Project) -> None:
    url = reverse("admin:lifecycle_project_change", args=[project.pk])
    response = admin_client.post(url, forms_of(project) | {"memberships-0-DELETE": "on", "quota-0-vms": 1}, follow=True)
    assert "needs an owner" in response.content.decode()
    assert Membership.objects.filter(project=project, role="owner").count() == 1
    assert Quota.objects.get(project=project).vms == 20  # nothing of a refused form is kept


def test_an_open_invitation_is_taken_back_and_an_accepted_one_stays(
    admin_client: Client, project: Project, superuser: User
) -> None:
    opened, _token = projects.invite(project, "a@example.org", "viewer", user=superuser)
    accepted, token = projects.invite(project, "b@example.org", "viewer", user=superuser)
    projects.accept_invitation(token, user=factories.make_user("b"))
    for invitation in (opened, accepted):
        admin_client.post(reverse("admin:lifecycle_invitation_delete", args=[invitation.pk]), {"post": "yes"})
    assert list(Invitation.objects.all()) == [accepted]


# -- people --------------------------------------------------------------------------------------


def test_a_new_person_begins_with_a_one_time_password(admin_client: Client) -> None:
    data = {
        "username": "grace",
        "email": "grace@example.org",
        "password1": "a-rather-long-passphrase",
        "password2": "a-rather-long-passphrase",
        "usable_password": "true",
    }
    response = admin_client.post(reverse("admin:lifecycle_user_add"), data)
    assert response.status_code == 302, errors(response)
    assert User.objects.get(username="grace").must_change_password


def test_a_password_set_by_an_operator_is_for_one_time(admin_client: Client) -> None:
    person = factories.make_user("grace")
    data = {"password1": "after-after-after", "password2": "after-after-after", "usable_password": "true"}
    admin_client.post(reverse("admin:auth_user_password_change", args=[person.pk]), data)
    person.refresh_from_db()
    assert person.must_change_password
    assert person.check_password("after-after-after")


def test_staff_cannot_make_themselves_superusers_or_touch_one(
    as_user: Callable[[User], Client], make_staff: Callable[..., User], superuser: User
) -> None:
    staff = make_staff("lifecycle.view_user", "lifecycle.change_user")
    browser = as_user(staff)
    fields = {"username": "staff", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    browser.post(reverse("admin:lifecycle_user_change", args=[staff.pk]), fields)
    staff.refresh_from_db()
    assert not staff.is_superuser
    page = reverse("admin:lifecycle_user_change", args=[superuser.pk])
    assert browser.post(page, fields | {"username": "ada"}).status_code == 403
    password = {"password1": "mine-now-mine-now", "password2": "mine-now-mine-now", "usable_password": "true"}
    assert browser.post(reverse("admin:auth_user_password_change", args=[superuser.pk]), password).status_code == 403


def test_nobody_is_deleted(admin_client: Client) -> None:
    person = factories.make_user("grace")
    assert (
        admin_client.post(reverse("admin:lifecycle_user_delete", args=[person.pk]), {"post": "yes"}).status_code == 403
    )
