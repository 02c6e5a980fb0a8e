"""Firmware of a VM, VMs made from a CD, and what is in the drive at the next start."""

from typing import Any

import pytest

from lifecycle.domain.errors import Forbidden, InvalidInput, NotFound
from lifecycle.domain.states import State
from lifecycle.models import VM, Host, Image, Project, User
from lifecycle.services import definitions, images
from lifecycle.services.vms import CD_DISK_GIB, VMRequest, request_create, set_cdrom
from tests import factories
from tests.services.tools import refusal

pytestmark = [pytest.mark.bothdb, pytest.mark.django_db, pytest.mark.usefixtures("catalog")]


@pytest.fixture
def cd(project: Project) -> Image:
    return factories.make_image("installer", project=project, kind="iso", format="raw", file_name="installer.iso")


@pytest.fixture
def vm(project: Project, host: Host) -> VM:
    return factories.make_vm(project, "web-1", State.TERMINATED, host=host)


def created(project: Project, owner: User, **request: Any) -> VM:
    return VM.objects.get(pk=request_create(project, VMRequest("web-2", **request), user=owner).vm_id)


@pytest.mark.parametrize(
    ("of_image", "asked", "found"), [("bios", "", "bios"), ("uefi", "", "uefi"), ("uefi", "bios", "bios")]
)
def test_firmware_is_the_images_unless_somebody_says(
    project: Project, owner: User, of_image: str, asked: str, found: str
) -> None:
    factories.make_image("some", firmware=of_image)
    assert created(project, owner, image="some", firmware=asked).firmware == found


def test_an_unknown_firmware_is_refused(project: Project, owner: User) -> None:
    with refusal(InvalidInput) as refused:
        created(project, owner, firmware="coreboot")
    assert refused.value.field == "firmware"


def test_a_vm_made_from_a_cd_has_an_empty_disk_and_the_cd(project: Project, owner: User, cd: Image, host: Host) -> None:
    vm = created(project, owner, image="installer")
    assert (vm.cdrom, vm.next_cdrom, vm.made_from_cd, vm.boot_order) == (cd, cd, True, ("hd", "cdrom"))
    assert vm.disks.get().size_gib == CD_DISK_GIB


def test_a_cd_is_nobodys_default_image(project: Project, owner: User, cd: Image) -> None:
    Image.objects.exclude(pk=cd.pk).update(status="deprecated")
    with pytest.raises(InvalidInput):
        created(project, owner)


def test_a_cd_comes_and_goes_with_the_next_start(vm: VM, owner: User, cd: Image) -> None:
    set_cdrom(vm, cd.pk, user=owner)
    vm.refresh_from_db()
    assert (vm.cdrom, vm.next_cdrom) == (None, cd)
    assert definitions.domain_values(vm)["cdrom_volume"] == ""
    VM.objects.filter(pk=vm.pk).update(cdrom=cd)
    vm.refresh_from_db()
    assert (vm.boot_order, definitions.domain_values(vm)["cdrom_volume"]) == (("cdrom", "hd"), "installer.iso")
    set_cdrom(vm, None, user=owner)
    vm.refresh_from_db()
    assert (vm.cdrom, vm.next_cdrom) == (cd, None)


def test_what_is_no_cd_of_the_project_is_refused(vm: VM, owner: User, image: Image, cd: Image) -> None:
    other = factories.make_image("theirs", project=factories.make_project(), kind="iso")
    for number in (image.pk, other.pk, 0):
        with refusal(InvalidInput, "no such CD"):
            set_cdrom(vm, number, user=owner)
    images.set_deprecated(cd, True, user=owner)
    with refusal(InvalidInput, "no such CD"):
        set_cdrom(vm, cd.pk, user=owner)


def test_a_viewer_and_a_stranger_touch_no_drive(vm: VM, viewer: User, stranger: User, cd: Image) -> None:
    with refusal(Forbidden):
        set_cdrom(vm, cd.pk, user=viewer)
    with refusal(NotFound):
        set_cdrom(vm, cd.pk, user=stranger)


def test_a_cd_in_a_drive_is_not_deleted(vm: VM, owner: User, cd: Image) -> None:
    set_cdrom(vm, cd.pk, user=owner)
    with refusal(InvalidInput, "web-1"):
        images.delete(cd, user=owner)
