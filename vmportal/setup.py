"""Brings an installation's data to the code: one process for all steps, because starting Django costs a second.

With --launcher it writes one JSON object a line: {"step": "..."} as a step begins, {"bootstrap": {...}} with what
bootstrap told, {"error": "..."} before it fails. Without, it writes plain lines and never a password, because the
output of a container is kept: choose the administrator's by `manage.py changepassword`.
"""

import hashlib
import io
import json
import os
import socket
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.utils.text import slugify

FAILED = 1
STANDARD_OUTPUT = 1


def tell(**message: Any) -> None:
    """One line for the launcher, or for a person."""
    if "--launcher" in sys.argv:
        line = json.dumps(message)
    elif "bootstrap" in message:
        line = f"Administrator: {message['bootstrap']['username']}"
    else:
        line = " ".join(str(value) for value in message.values())
    os.write(STANDARD_OUTPUT, f"{line}\n".encode())


def main() -> int:
    """Run every step. Returns 1, having told the error, when one fails."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vmportal.settings")
    sys.stdout = sys.stderr  # commands chat; only `tell` speaks to the launcher
    try:
        compile_messages()  # before Django loads the translations
        tell(step="Preparing the database")
        django.setup()
        call_command("migrate", interactive=False, verbosity=0)
        call_command("check", tags=["database"], databases=["default"], fail_level="WARNING", stdout=sys.stderr)
        call_command("createcachetable", verbosity=0)
        collect_static()
        first = bootstrap()
        tell(bootstrap=first)
        tell(step="Preparing the default guest image")
        call_command("build_image", "tiny", stdout=sys.stderr)
        tell(step="Registering this machine as a host")
        register_this_machine(first["zone"])
    except Exception as error:
        traceback.print_exc()
        tell(error=f"{type(error).__name__}: {error}")
        return FAILED
    return 0


def bootstrap() -> dict[str, Any]:
    """What `manage.py bootstrap --json` tells: the administrator's name, and the password when it is new."""
    answer = io.StringIO()
    call_command("bootstrap", "--json", stdout=answer)
    found = json.loads(answer.getvalue().strip().splitlines()[-1])
    return dict(found)


def register_this_machine(zone: str) -> None:
    """Register VMPORTAL_HOST_URI (the local libvirt by default, "none" for no host) under this machine's name."""
    from lifecycle.models import Host

    uri = os.environ.get("VMPORTAL_HOST_URI", "qemu:///system")
    if uri == "none":
        return
    known = Host.objects.filter(uri=uri).first()
    name = known.name if known else slugify(socket.gethostname().split(".")[0])[:63] or "this-machine"
    call_command("register_host", name, uri, "--zone", known.zone.name if known else zone, stdout=sys.stderr)


def compile_messages() -> None:
    """Compile the translations beside their sources, those alone that are older than their source."""
    from django.core.management.commands.compilemessages import Command

    locale = Path(__file__).resolve().parent.parent / "locale"
    stale = [path for path in locale.rglob("*.po") if not _is_newer(path.with_suffix(".mo"), path)]
    if stale:
        tell(step="Compiling the translations")
        command = Command(stdout=io.StringIO(), stderr=io.StringIO())
        command.verbosity, command.has_errors = 0, False
        command.compile_messages([(str(path.parent), path.name) for path in stale])


def _is_newer(target: Path, source: Path) -> bool:
    return target.exists() and target.stat().st_mtime >= source.stat().st_mtime


def collect_static() -> None:
    """Collect static files when their sources are not those of the last time (names, sizes, times)."""
    from django.contrib.staticfiles.finders import get_finders

    stamp = settings.VAR / "static.stamp"
    now = fingerprint(Path(storage.path(name)) for finder in get_finders() for name, storage in finder.list([]))
    if not (stamp.exists() and stamp.read_text(encoding="utf-8") == now and settings.STATIC_ROOT.is_dir()):
        tell(step="Collecting the pages' static files")
        call_command("collectstatic", interactive=False, clear=True, verbosity=0)
        stamp.write_text(now, encoding="utf-8")


def fingerprint(paths: Iterable[Path]) -> str:
    """What changes when one of the files does."""
    digest = hashlib.sha256()
    for path in sorted(paths):
        found = path.stat()
        digest.update(f"{path} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
