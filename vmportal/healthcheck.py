"""`python -m vmportal.healthcheck PROCESS`: is this container's process well? Exit status 0 when it is.

Each answer comes from what the process does, not from its being there: the web answers, the worker replies to a
ping, the beat has rung, the watcher holds its hosts' leases.
"""

import os
import socket
import sys
import urllib.error
import urllib.request
from datetime import timedelta

import django

# A beat rings its quickest task at least this often; a watcher renews its leases more often.
BEAT_SILENCE = timedelta(minutes=5)
PING_SECONDS = 10


def main(argv: list[str]) -> int:
    """Check the process that `argv` names."""
    checks = {"web": web, "gateway": gateway, "worker": worker, "beat": beat, "watcher": watcher}
    if len(argv) != 1 or argv[0] not in checks:
        sys.stderr.write(f"usage: python -m vmportal.healthcheck {'|'.join(checks)}\n")
        return 2
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "vmportal.settings")
    if argv[0] not in {"web", "gateway"}:
        django.setup()
    problem = checks[argv[0]]()
    sys.stdout.write(f"{problem or 'healthy'}\n")
    return 1 if problem else 0


def web() -> str:
    """'' when /healthz says yes on this container's port."""
    from django.conf import settings

    host = next((name for name in settings.ALLOWED_HOSTS if not name.startswith(".")), "localhost")
    request = urllib.request.Request("http://127.0.0.1:8000/healthz", headers={"Host": host})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - our own address
            return "" if answer.status == 200 else f"status {answer.status}"
    except OSError as error:
        return f"no answer: {error}"


def gateway() -> str:
    """'' when the consoles' gateway answers where the web process looks for it."""
    from django.conf import settings

    kind, _, place = settings.GATEWAY_ADDRESS.partition(":")
    try:
        with socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET) as link:
            link.settimeout(5)
            link.connect(place if kind == "unix" else ("127.0.0.1", int(place)))
            link.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            answer = link.recv(100).split(b"\r\n")[0].decode(errors="replace")
    except (OSError, ValueError) as error:
        return f"no answer: {error}"
    return "" if " 200" in answer else f"it says {answer}"


def worker() -> str:
    """'' when this container's worker replies to a ping."""
    from vmportal.celery import app

    name = f"celery@{socket.gethostname()}"
    return "" if app.control.ping(destination=[name], timeout=PING_SECONDS) else f"{name} does not reply"


def beat() -> str:
    """'' when a periodic task has been rung lately."""
    from django.db.models import Max
    from django.utils import timezone
    from django_celery_beat.models import PeriodicTask

    last = PeriodicTask.objects.filter(enabled=True).aggregate(last=Max("last_run_at"))["last"]
    if last is None:
        return "no task has been rung"
    silence = timezone.now() - last
    return "" if silence < BEAT_SILENCE else f"no task has been rung for {silence}"


def watcher() -> str:
    """'' when every host is watched by somebody."""
    from django.utils import timezone

    from lifecycle.models import Host, HostLease

    watched = HostLease.objects.filter(expires_at__gt=timezone.now()).values("host")
    alone = Host.objects.exclude(pk__in=watched).values_list("name", flat=True)
    return f"not watched: {', '.join(alone)}" if alone else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
