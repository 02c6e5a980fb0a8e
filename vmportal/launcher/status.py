"""`./portal status`: is this installation well?"""

import json
import subprocess
import sys
import time
import tomllib
from typing import Any

from vmportal.launcher.display import Display
from vmportal.launcher.installation import CHECKOUT, Installation
from vmportal.launcher.processes import resident_bytes
from vmportal.launcher.supervisor import Supervisor
from vmportal.launcher.up import health

PORTAL_STATUS_SECONDS = 30


def status(installation: Installation, as_json: bool, display: Display) -> int:
    """Print how the installation is; 0 when it is healthy, else 1."""
    found = collect(installation)
    if as_json:
        json.dump(found, sys.stdout, indent=2, default=str)
        sys.stdout.write("\n")
    else:
        _show(found, display)
    return 0 if found["healthy"] else 1


def collect(installation: Installation) -> dict[str, Any]:
    """Everything that `status` tells, with `problems` in sentences and `healthy` when there are none."""
    address = installation.recall("address")
    known = (installation.var / "installation").is_file()
    processes = [_process(each) for each in Supervisor(installation).processes()]
    found: dict[str, Any] = {
        "var": str(installation.var),
        "installation": installation.id() if known else None,
        "address": address.get("url"),
        "processes": processes,
        "http": _http(address) if processes else None,
        "portal": _portal(installation) if known and installation.python.exists() else {},
        "versions": {"vmportal": _version(), "python": sys.version.split()[0]},
    }
    found["versions"].update(found["portal"].pop("versions", {}))
    found["problems"] = problems(found)
    found["healthy"] = not found["problems"]
    return found


def problems(found: dict[str, Any]) -> list[str]:
    """What is wrong, in sentences."""
    if not found["processes"]:
        return ["It is not running: start it with ./portal up."]
    wrong = [f"{each['name']} is {each['state']}." for each in found["processes"] if each["state"] != "RUNNING"]
    if found["http"]["status"] != 200:
        wrong.append(f"The web does not answer at {found['http']['url']} (status {found['http']['status']}).")
    portal = found["portal"]
    if "error" in portal:
        wrong.append(f"The database cannot be read: {portal['error']}")
    hosts = portal.get("hosts", [])
    if not hosts and "error" not in portal:
        wrong.append("No host is registered.")
    wrong += [f"Host {host['name']} is {host['health']}: {host['reason']}" for host in hosts if not host["healthy"]]
    return wrong


def _process(info: dict[str, Any]) -> dict[str, Any]:
    running = info["statename"] == "RUNNING"
    return {
        "name": info["name"],
        "state": info["statename"],
        "pid": info["pid"] or None,
        "uptime_seconds": int(time.time() - info["start"]) if running else None,
        "memory_bytes": resident_bytes(info["pid"]) if info["pid"] else 0,
        "log": info["stdout_logfile"],
    }


def _http(address: dict[str, Any]) -> dict[str, Any]:
    url = address.get("local", "")
    answered, seconds = health(url, address.get("url", "")) if url else (0, 0.0)
    return {"url": url, "status": answered, "milliseconds": round(seconds * 1000, 1)}


def _portal(installation: Installation) -> dict[str, Any]:
    """What `manage.py portal_status` reads in the database; {"error": ...} when it cannot."""
    argv = [str(installation.python), str(CHECKOUT / "manage.py"), "portal_status", "--json"]
    environ = manage_environment(installation)
    try:
        done = subprocess.run(
            argv, env=environ, capture_output=True, text=True, timeout=PORTAL_STATUS_SECONDS, check=False
        )
        return dict(json.loads(done.stdout.strip().splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {PORTAL_STATUS_SECONDS} s"}
    except (ValueError, IndexError):
        return {"error": (done.stderr.strip().splitlines() or ["no answer"])[-1]}


def manage_environment(installation: Installation) -> dict[str, str]:
    """The environment for manage.py: what the running processes see where they run."""
    passed = {key: str(value) for key, value in installation.recall("address").items() if key.isupper()}
    return installation.environment(passed)


def _version() -> str:
    return str(tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def _show(found: dict[str, Any], display: Display) -> None:
    display.say(f"vmportal {found['versions']['vmportal']}  installation {found['installation']}  {found['var']}")
    display.say(f"Address: {found['address'] or 'not running'}")
    for each in found["processes"]:
        uptime = f"{each['uptime_seconds']} s" if each["uptime_seconds"] is not None else "-"
        memory = f"{each['memory_bytes'] / 2**20:.0f} MiB"
        display.say(f"  {each['name']:<8} {each['state']:<9} pid {each['pid'] or '-':<8} up {uptime:<9} {memory}")
    for host in found["portal"].get("hosts", []):
        display.say(f"  host {host['name']} ({host['uri']}): {host['health']}, {host['virtualisation']}")
    display.say("Versions: " + ", ".join(f"{name} {value}" for name, value in found["versions"].items()))
    for problem in found["problems"]:
        display.say(f"  ✗ {problem}")
    display.say("Healthy." if found["healthy"] else "Not healthy.")
