"""The command line of `./portal`."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from vmportal.launcher.backup import backup
from vmportal.launcher.commands import end_by_exception
from vmportal.launcher.display import Display, report_error
from vmportal.launcher.down import down
from vmportal.launcher.errors import PortalError
from vmportal.launcher.gcloud import gcloud
from vmportal.launcher.installation import CHECKOUT, Installation
from vmportal.launcher.libvirtd import with_group
from vmportal.launcher.logs import logs
from vmportal.launcher.restore import restore
from vmportal.launcher.status import manage_environment, status
from vmportal.launcher.supervisor import Listening
from vmportal.launcher.testing import bench, chaos, screenshots, test
from vmportal.launcher.up import up

DEFAULT_PORT = 8000
INTERRUPTED = 130
# Their words are passed on as they are, options included.
PASSING = ("manage", "test", "bench", "chaos", "screenshots", "gcloud")


def parser() -> argparse.ArgumentParser:
    """What `./portal` understands."""
    main = argparse.ArgumentParser(
        prog="./portal",
        description="A self-hosted VM cloud: one command sets it up and runs it.",
        epilog="Settings: VAR/env holds KEY=VALUE lines for all processes (DATABASE_URL, EMAIL_URL, …).",
    )
    main.add_argument(
        "--var",
        type=Path,
        metavar="DIR",
        help="where the installation keeps everything (default: VMPORTAL_VAR, or var/ in the checkout)",
    )
    commands = main.add_subparsers(dest="command", required=True, metavar="command")
    start = commands.add_parser("up", help="set up what is missing and start; Ctrl-C stops")
    start.add_argument("--detach", "-d", action="store_true", help="return when it runs")
    start.add_argument("--port", type=port, help=f"the port to listen on (default {DEFAULT_PORT})")
    start.add_argument("--listen", metavar="ADDRESS", help="the address to listen on (default 127.0.0.1)")
    start.add_argument("--tls-cert", metavar="FILE", help="certificate chain (PEM)")
    start.add_argument("--tls-key", metavar="FILE", help="the certificate's private key (PEM)")
    commands.add_parser("down", help="stop what `up` started; running VMs stay running")
    state = commands.add_parser("status", help="how it is; non-zero when unhealthy")
    state.add_argument("--json", action="store_true", help="for programs")
    log = commands.add_parser("logs", help="what the processes wrote")
    log.add_argument("process", nargs="?", help="web, gateway, worker, beat, watcher, redis, supervisor or setup")
    log.add_argument("-f", "--follow", action="store_true", help="go on as more comes")
    log.add_argument("-n", "--lines", type=count, default=50, help="how many lines (default 50)")
    saving = commands.add_parser("backup", help="save database, keys and settings to one file, while it runs")
    saving.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a new file, or a directory (VAR/backups)")
    saving.add_argument("--images", action="store_true", help="the built guest images too")
    putting = commands.add_parser("restore", help="put a backup back; the installation must be stopped, or be none yet")
    putting.add_argument("file", type=Path, metavar="FILE", help="what `backup` wrote")
    putting.add_argument("--replace", action="store_true", help="set aside the installation that is there")
    for name, text in (
        ("manage", "Django's manage.py, with this installation's settings"),
        ("test", "check everything; further words go to pytest"),
        ("bench", "measure, beside raw libvirt"),
        ("chaos", "break an installation of its own at random, and check what is left"),
        ("screenshots", "pictures of every page, in both themes, two widths and both languages"),
        ("gcloud", "an installed gcloud, pointed at this installation"),
    ):
        commands.add_parser(name, help=text, add_help=False)
    return main


def split_words(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """`argv` up to a command whose words are passed on, and those words as they are (argparse would read them)."""
    place = 0
    while place < len(argv) and argv[place].startswith("-"):
        place += 2 if argv[place] == "--var" else 1
    if place < len(argv) and argv[place] in PASSING:
        return list(argv[: place + 1]), list(argv[place + 1 :])
    return list(argv), []


def port(text: str) -> int:
    """A TCP port. Raises argparse.ArgumentTypeError for anything else."""
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 1 to 65535")
    return int(text)


def count(text: str) -> int:
    """A number of lines. Raises argparse.ArgumentTypeError for anything else."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of lines: give 0 or more")
    return int(text)


def main(argv: Sequence[str]) -> int:
    """Run one command; its exit status."""
    own, words = split_words(argv)
    arguments = parser().parse_args(own)
    # A child Python must not see the checkout on its path just because we do.
    os.environ.pop("PYTHONPATH", None)
    try:
        return _dispatch(arguments, words)
    except PortalError as error:
        report_error(error)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        return 1


def _dispatch(arguments: argparse.Namespace, words: list[str]) -> int:
    installation = Installation(chosen_var(arguments.var))
    match arguments.command:
        case "up":
            # A request to end arrives as an exception, so that what was started is stopped again.
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            return up(installation, listening(arguments, installation), arguments.detach, Display())
        case "down":
            return down(installation, Display())
        case "status":
            return status(installation, arguments.json, Display())
        case "logs":
            return logs(installation, arguments.process, arguments.follow, arguments.lines)
        case "backup":
            return backup(installation, arguments.file, arguments.images, Display())
        case "restore":
            return restore(installation, arguments.file, arguments.replace, Display())
        case _:
            return _pass_on(arguments.command, installation, words)


def _pass_on(command: str, installation: Installation, words: list[str]) -> int:
    """The commands whose words are others' options."""
    if command not in {"manage", "gcloud"}:
        end_by_exception()
    match command:
        case "manage":
            return manage(installation, words)
        case "gcloud":
            return gcloud(installation, words)
        case "test":
            return test(installation, words, Display())
        case "chaos":
            return chaos(installation, words, Display())
        case "screenshots":
            return screenshots(installation, words, Display())
        case _:
            return bench(installation, words, Display())


def chosen_var(option: Path | None) -> Path:
    """The installation's directory: the option, else VMPORTAL_VAR, else var/ in the checkout."""
    return (option or Path(os.environ.get("VMPORTAL_VAR") or CHECKOUT / "var")).expanduser().resolve()


def listening(arguments: argparse.Namespace, installation: Installation) -> Listening:
    """Where to listen: the options, else the env file, else the environment, else the defaults."""
    known = {**os.environ, **installation.file_settings()}
    try:
        number = arguments.port or port(known.get("VMPORTAL_PORT") or str(DEFAULT_PORT))
    except argparse.ArgumentTypeError as error:
        raise PortalError(f"VMPORTAL_PORT: {error}.") from error
    return Listening(
        listen=arguments.listen or known.get("VMPORTAL_LISTEN") or "127.0.0.1",
        port=number,
        tls_cert=_absolute(arguments.tls_cert or known.get("VMPORTAL_TLS_CERT")),
        tls_key=_absolute(arguments.tls_key or known.get("VMPORTAL_TLS_KEY")),
    )


def _absolute(path: str | None) -> str:
    return str(Path(path).expanduser().resolve()) if path else ""


def manage(installation: Installation, words: list[str]) -> int:
    """Become manage.py with this installation's environment. Raises PortalError before the first `up`."""
    if not installation.python.exists():
        raise PortalError("Nothing is set up yet: run ./portal up first.")
    installation.prepare()
    argv = with_group([str(installation.python), str(CHECKOUT / "manage.py"), *words])
    os.execvpe(argv[0], argv, manage_environment(installation))
