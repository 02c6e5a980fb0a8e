#!/usr/bin/env python3
"""Debian's Chromium, which hears nothing of the machine's network interfaces: started in its place by Playwright.

Chromium drops connections that it makes while any interface gets or loses an address (ERR_NETWORK_CHANGED), and each
guest that starts or stops is one. A page that is opened can be opened again, but a form that was on its way cannot be
sent twice. Without the kernel's messages (a netlink socket of the routing family, which a filter refuses here)
Chromium takes the network for steady; all that the tests open is on the loopback.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

CHROMIUM = "/usr/bin/chromium"
#: machine -> the kernel's name for it in a filter, and the number of socket() there.
MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
_AF_NETLINK, _NETLINK_ROUTE = 16, 0
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_REFUSED, _ALLOWED = 0x00050000 | errno.EAFNOSUPPORT, 0x7FFF0000
#: Where a filter finds the call's number, the machine, and the low halves of its first and third argument.
_NUMBER, _MACHINE, _FIRST, _THIRD = 0, 4, 16, 32


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def refuse_news_of_interfaces() -> None:
    """For this process and what it becomes. Where no filter can be set, the browser hears them as ever."""
    if platform.machine() not in MACHINES:
        return
    machine, socket = MACHINES[platform.machine()]
    conditions = ((_MACHINE, machine), (_NUMBER, socket), (_FIRST, _AF_NETLINK), (_THIRD, _NETLINK_ROUTE))
    code = b""
    for index, (place, value) in enumerate(conditions):
        to_the_end = 2 * (len(conditions) - index - 1) + 1  # past what is left and the refusal
        code += struct.pack("HBBI", _LOAD, 0, 0, place) + struct.pack("HBBI", _EQUAL, 0, to_the_end, value)
    code += struct.pack("HBBI", _RETURN, 0, 0, _REFUSED) + struct.pack("HBBI", _RETURN, 0, 0, _ALLOWED)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(_Program(len(code) // 8, code)), 0, 0)


if __name__ == "__main__":
    refuse_news_of_interfaces()
    os.execv(CHROMIUM, [CHROMIUM, *sys.argv[1:]])
