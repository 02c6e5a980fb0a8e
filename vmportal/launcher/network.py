"""This machine's addresses, and what follows from them for the portal's settings."""

import json
import socket
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from vmportal.launcher.supervisor import Listening

ANY = {"0.0.0.0", "::"}  # noqa: S104
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


def machine_addresses() -> list[str]:
    """Every address of this machine that is neither loopback nor link-local nor a guest network's gateway."""
    found = subprocess.run(["ip", "-j", "address"], capture_output=True, text=True, check=False)
    try:
        links = json.loads(found.stdout or "[]")
    except ValueError:
        links = []
    return [
        each["local"]
        for link in links
        if not link.get("ifname", "").startswith(("virbr", "vmp", "vnet"))
        for each in link.get("addr_info", [])
        if each.get("scope") == "global" and each.get("local")
    ]


def public_url(listening: "Listening") -> str:
    """The address that people are told when the operator names none."""
    host = listening.listen
    if host in ANY:
        host = next(iter(machine_addresses()), "127.0.0.1")
    host = f"[{host}]" if ":" in host else host
    standard = {"http": 80, "https": 443}[listening.scheme] == listening.port
    return f"{listening.scheme}://{host}" + ("" if standard else f":{listening.port}")


def allowed_hosts(listening: "Listening", url: str) -> list[str]:
    """The names under which requests are answered when the operator names none."""
    names = [*LOOPBACK_NAMES, urlsplit(url).hostname or ""]
    if listening.listen in ANY:
        names += [socket.gethostname(), *machine_addresses()]
    else:
        names.append(listening.listen)
    bracketed = [f"[{name}]" if ":" in name and not name.startswith("[") else name for name in names if name]
    return list(dict.fromkeys(bracketed))
