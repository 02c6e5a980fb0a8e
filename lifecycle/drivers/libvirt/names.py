"""What our things are called in libvirt. Every name starts with the installation's prefix."""

from typing import Final
from uuid import UUID, uuid5

from lifecycle.drivers.base import Pool

#: The XML namespace of our metadata in domains.
METADATA: Final = "urn:vmportal:domain:1"
METADATA_PREFIX: Final = "vmportal"

#: Our ids of networks, pools and filters follow from their names, so that a definition made twice is one thing.
_NAMESPACE: Final = UUID("7d4f9c1e-6f0a-5b39-9d57-0f6a3c1be2aa")


def pool_name(installation: str, pool: Pool) -> str:
    """The pool's name in libvirt."""
    return f"vmp-{installation}-{pool.value}"


def pool_path(installation: str, pool: Pool) -> str:
    """Where a new pool is laid out on its host: libvirt's own place, which its security rules know."""
    return f"/var/lib/libvirt/vmportal/{installation}/{pool.value}"


def filter_name(installation: str, vm: UUID) -> str:
    """The name of a VM's packet filter."""
    return f"vmp-{installation}-{vm}"


def stable_uuid(name: str) -> UUID:
    """The same id for the same name, on every host."""
    return uuid5(_NAMESPACE, name)
