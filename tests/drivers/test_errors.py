"""libvirt's errors become the product's: by code and by the connection's state; by words where there is no code."""

from typing import Any

import libvirt
import pytest

from lifecycle.domain.errors import Broken, Busy, Gone, Held, HypervisorError, OutOfSpace, Refused, Transient
from lifecycle.drivers.libvirt.errors import absent_is_fine, translate


def libvirt_error(code: int, message: str = "some words") -> libvirt.libvirtError:
    """An error as libvirt raises it."""
    error: Any = libvirt.libvirtError(message)
    error.err = (code, libvirt.VIR_FROM_QEMU, message, libvirt.VIR_ERR_ERROR, "", "", "", -1, -1)
    return error


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (libvirt.VIR_ERR_NO_DOMAIN, Gone),
        (libvirt.VIR_ERR_NO_STORAGE_VOL, Gone),
        (libvirt.VIR_ERR_NO_NETWORK, Gone),
        (libvirt.VIR_ERR_NO_NWFILTER, Gone),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, Held),
        (libvirt.VIR_ERR_RESOURCE_BUSY, Busy),
        (libvirt.VIR_ERR_OPERATION_INVALID, Refused),
        (libvirt.VIR_ERR_NO_SUPPORT, Refused),
        (libvirt.VIR_ERR_CONFIG_UNSUPPORTED, Refused),
        (libvirt.VIR_ERR_XML_ERROR, Refused),
        (libvirt.VIR_ERR_AUTH_FAILED, Refused),
        (libvirt.VIR_ERR_RPC, Transient),
        (libvirt.VIR_ERR_NO_CONNECT, Transient),
        (libvirt.VIR_ERR_INTERNAL_ERROR, Broken),
        (libvirt.VIR_ERR_OPERATION_FAILED, Broken),
        (99999, Broken),
    ],
)
def test_each_code_has_its_type(code: int, expected: type[HypervisorError]) -> None:
    assert type(translate(libvirt_error(code), "start", alive=True)) is expected


@pytest.mark.parametrize("code", [libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_INTERNAL_ERROR])
def test_whatever_a_dead_connection_says_is_transient(code: int) -> None:
    assert type(translate(libvirt_error(code), "look", alive=False)) is Transient


def test_a_full_disk_is_told_apart_from_other_failures() -> None:
    error = libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, "cannot extend file 'x': No space left on device")
    assert type(translate(error, "create_overlay", alive=True)) is OutOfSpace


def test_a_filter_that_is_still_being_removed_passes_by_itself() -> None:
    """Seen at a start just after another guest had been killed."""
    error = libvirt_error(
        libvirt.VIR_ERR_OPERATION_FAILED, "operation failed: binding 'vnet1' is already being removed"
    )
    assert type(translate(error, "start", alive=True)) is Busy


def test_the_operators_text_names_the_verb() -> None:
    assert str(translate(libvirt_error(libvirt.VIR_ERR_NO_DOMAIN, "no such"), "reset", alive=True)) == "reset: no such"


def test_absent_is_fine_and_nothing_else() -> None:
    with absent_is_fine():
        raise libvirt_error(libvirt.VIR_ERR_NO_STORAGE_POOL)
    with pytest.raises(libvirt.libvirtError), absent_is_fine():
        raise libvirt_error(libvirt.VIR_ERR_INTERNAL_ERROR)
