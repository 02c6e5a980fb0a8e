"""/dev/kvm within QEMU's reach.

Of a node that root may open and libvirt's QEMU may not, libvirtd finds that KVM works and that its guests may not use
it. It then holds what it knows of QEMU for outdated, and asks QEMU anew at every call that needs it: seconds instead of
milliseconds. Where udev runs, Debian's rule gives the node to the group `kvm`, in which QEMU's user is. Where it does
not, the node is root's alone, or, in a container, belongs to a number that is the group's on the machine around it.
"""

import grp
import os
import pwd
from pathlib import Path

from vmportal.launcher.commands import as_root, authorise, run

NODE = Path("/dev/kvm")
GROUP = "kvm"
QEMU_USER = "libvirt-qemu"


def let_qemu_reach(node: Path = NODE) -> None:
    """Do what is missing; nothing where there is no node, or no QEMU of libvirt's."""
    if not node.exists():
        return
    found = node.stat()
    if script := remedy(str(node), found.st_mode, found.st_gid, _groups_of(QEMU_USER), _is_named(found.st_gid)):
        authorise("to let QEMU use KVM")
        # Guests run without it, only slower to manage: a node that refuses is no reason not to start.
        run(as_root(["sh", "-c", f"{{ {script}; }} || true"]), f"{node} could not be put within QEMU's reach")


def remedy(node: str, mode: int, gid: int, groups: frozenset[int], named: bool) -> str | None:
    """The shell commands that put the node within the reach of a user in `groups`; None when it is, or stays as it is.

    A node of root's group is given to `kvm`. One whose group has no name here gets one, with QEMU's user in it, and
    stays as it is: it may be shared with the machine around. A group that has another name here is nobody's business.
    `chmod` comes last: libvirtd looks anew at a node that has changed.
    """
    readable = mode & 0o060 == 0o060
    if not groups or mode & 0o006 == 0o006 or (readable and gid in groups):
        return None
    if gid == 0:
        return f"chgrp {GROUP} '{node}' && chmod g+rw '{node}'"
    if readable and not named:
        name = f"{GROUP}-{gid}"
        return f"groupadd --system --gid {gid} {name} && usermod -aG {name} {QEMU_USER} && chmod g+rw '{node}'"
    return None


def _groups_of(user: str) -> frozenset[int]:
    try:
        return frozenset(os.getgrouplist(user, pwd.getpwnam(user).pw_gid))
    except KeyError:
        return frozenset()


def _is_named(gid: int) -> bool:
    try:
        grp.getgrgid(gid)
    except KeyError:
        return False
    return True
