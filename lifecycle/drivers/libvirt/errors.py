"""From libvirt's error codes to the product's types: one table, asked by code and never by message.

Two things are asked before the table: whether the connection died meanwhile (then whatever was said means
`Transient`), and whether the operating system's error beneath it says that a disk is full.
"""

import errno
import os
from typing import Final

import libvirt

from lifecycle.domain.errors import Broken, Busy, Gone, Held, HypervisorError, OutOfSpace, Refused, Transient

_TRANSIENT: Final = (
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_SSH,
    libvirt.VIR_ERR_LIBSSH,
    libvirt.VIR_ERR_UNKNOWN_HOST,
    libvirt.VIR_ERR_NO_SERVER,
    libvirt.VIR_ERR_GNUTLS_ERROR,
)
_BUSY: Final = (
    libvirt.VIR_ERR_RESOURCE_BUSY,
    libvirt.VIR_ERR_OPERATION_ABORTED,
    libvirt.VIR_ERR_BLOCK_COPY_ACTIVE,
    libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
    libvirt.VIR_ERR_AGENT_UNSYNCED,
)
_GONE: Final = (
    libvirt.VIR_ERR_NO_DOMAIN,
    libvirt.VIR_ERR_NO_DOMAIN_METADATA,
    libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT,
    libvirt.VIR_ERR_NO_DOMAIN_CHECKPOINT,
    libvirt.VIR_ERR_NO_NETWORK,
    libvirt.VIR_ERR_NO_NETWORK_PORT,
    libvirt.VIR_ERR_NO_NWFILTER,
    libvirt.VIR_ERR_NO_NWFILTER_BINDING,
    libvirt.VIR_ERR_NO_STORAGE_POOL,
    libvirt.VIR_ERR_NO_STORAGE_VOL,
)
_REFUSED: Final = (
    libvirt.VIR_ERR_OPERATION_INVALID,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    libvirt.VIR_ERR_OPERATION_DENIED,
    libvirt.VIR_ERR_ACCESS_DENIED,
    libvirt.VIR_ERR_AUTH_FAILED,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE,
    libvirt.VIR_ERR_AUTH_CANCELLED,
    libvirt.VIR_ERR_NO_SUPPORT,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
    libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
    libvirt.VIR_ERR_CPU_INCOMPATIBLE,
    libvirt.VIR_ERR_NO_KERNEL,
    libvirt.VIR_ERR_NO_MEMORY,
    libvirt.VIR_ERR_XML_ERROR,
    libvirt.VIR_ERR_XML_DETAIL,
    libvirt.VIR_ERR_XML_INVALID_SCHEMA,
    libvirt.VIR_ERR_INVALID_ARG,
    libvirt.VIR_ERR_INVALID_MAC,
    libvirt.VIR_ERR_OS_TYPE,
    libvirt.VIR_ERR_DOM_EXIST,
    libvirt.VIR_ERR_NETWORK_EXIST,
    libvirt.VIR_ERR_STORAGE_VOL_EXIST,
    libvirt.VIR_ERR_STORAGE_POOL_BUILT,
    libvirt.VIR_ERR_HOOK_SCRIPT_FAILED,
)

#: libvirt's code -> our type; what is not here is `Broken`.
TYPES: Final[dict[int, type[HypervisorError]]] = {
    **dict.fromkeys(_TRANSIENT, Transient),
    **dict.fromkeys(_BUSY, Busy),
    libvirt.VIR_ERR_OPERATION_TIMEOUT: Held,  # "cannot acquire state change lock"
    **dict.fromkeys(_GONE, Gone),
    **dict.fromkeys(_REFUSED, Refused),
}

#: libvirt passes errno on only as words, in the daemon's locale (C for a daemon).
_NO_SPACE: Final = (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT))

#: A start that meets the end of the guest before it: that guest's packet filter still holds the port's name.
_PASSING: Final = ("is already being removed",)


def translate(error: libvirt.libvirtError, doing: str, *, alive: bool) -> HypervisorError:
    """The product's error for libvirt's. `doing` names the verb, for operators; `alive`: the connection still is."""
    text = f"{doing}: {error.get_error_message() or error}"
    if not alive:
        return Transient(text)
    if any(words in text for words in _NO_SPACE):
        return OutOfSpace(text)
    if code(error) == libvirt.VIR_ERR_OPERATION_FAILED and any(words in text for words in _PASSING):
        return Busy(text)
    return TYPES.get(error.get_error_code(), Broken)(text)


def code(error: libvirt.libvirtError) -> int:
    """libvirt's number of the error."""
    return int(error.get_error_code())


class absent_is_fine:  # noqa: N801  # used as a statement
    """A context in which "already gone" is success: the rest of the block is left out. Other errors pass."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        return isinstance(error, libvirt.libvirtError) and TYPES.get(code(error)) is Gone
