"""The images this product can build by itself.

What a build needs on the machine is listed here as Debian package names, so that the set-up can install it; the
scripts check for the programs themselves. Nothing that a guest consists of is ever installed on the machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from django.utils.translation import gettext_noop


@dataclass(frozen=True, slots=True)
class BuildRecipe:
    """How an image is made, and what its row will say.

    `script` is a file of `scripts/`, called with the file to write and a cache directory. `default_user` is who a
    seed's ssh keys let in.
    """

    name: str
    family: str
    description: str
    script: str
    min_disk_gib: int
    min_memory_mib: int
    default_user: str
    host_packages: tuple[str, ...]
    architecture: str = "x86_64"


# For every image: make a file system and a partition table in a file, convert it. A non-root builder needs fakeroot.
_COMMON_PACKAGES: Final = ("e2fsprogs", "fakeroot", "fdisk", "qemu-utils", "syslinux-common")

RECIPES: Final[Mapping[str, BuildRecipe]] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            BuildRecipe(
                name="tiny",
                family="tiny",
                description=gettext_noop(
                    "Tiny Linux: Debian's kernel with busybox, ssh and a guest agent; up in seconds"
                ),
                script="tiny.sh",
                min_disk_gib=1,
                min_memory_mib=96,
                default_user="root",
                host_packages=(*_COMMON_PACKAGES, "binutils", "cpio", "dosfstools", "kmod", "mtools", "syslinux"),
            ),
            BuildRecipe(
                name="debian-12",
                family="debian",
                description=gettext_noop("Debian 12 (bookworm) with cloud-init and a guest agent"),
                script="debian-12.sh",
                min_disk_gib=4,
                min_memory_mib=256,
                default_user="debian",
                host_packages=(
                    *_COMMON_PACKAGES,
                    "debian-archive-keyring",
                    "dosfstools",
                    "mmdebstrap",
                    "mtools",
                    "syslinux",
                    "uidmap",
                ),
            ),
        )
    }
)

# The image that a new installation starts with.
DEFAULT_IMAGE: Final = "tiny"
