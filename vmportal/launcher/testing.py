"""`./portal test` and `./portal bench`: installs what they need, then checks everything there is to check."""

import secrets
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from vmportal.launcher import environment, libvirtd, packages
from vmportal.launcher.commands import foreground
from vmportal.launcher.display import Display
from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import CHECKOUT, Installation
from vmportal.launcher.network import machine_addresses
from vmportal.launcher.postgres import private_postgres
from vmportal.launcher.up import prepare_system

# What must hold on both databases; everything else runs once, on SQLite.
BOTH_DATABASES = (
    "tests/services",
    "tests/billing",
    "tests/operations",
    "tests/realtime",
    "tests/repair",
    "tests/alerts",
    "tests/api/test_lists.py",
)
# What an installation's own environment says of it and tests must not follow: nobody is alerted by a test.
NOT_FOR_TESTS = (
    "DEBUG",
    "DATABASE_URL",
    "EMAIL_URL",
    "ALERT_EMAILS",
    "ALERT_WEBHOOK_URL",
    "ALLOWED_HOSTS",
    "VMPORTAL_PUBLIC_URL",
    "VMPORTAL_LISTEN",
)
# pytest's options whose value, the next word, may look like a path that is to be run.
TAKING_A_VALUE = ("-k", "-m", "-p", "-o", "-c", "-W", "--deselect", "--ignore", "--basetemp", "--rootdir")
# What tests find ready: the catalogues as machines read them, and the small guest's image.
PREPARATIONS = (
    ["compilemessages", "--ignore=var", "-v", "0"],
    ["migrate", "-v", "0"],
    ["bootstrap", "--json"],
    ["build_image", "tiny"],
)
AUDIT_SECONDS = 120
REDIS_SECONDS = 10
NO_TESTS_RAN = 5


@dataclass
class Result:
    """How one check ended; `counts` are a pytest run's."""

    name: str
    outcome: str
    seconds: float = 0.0
    output: str = ""
    counts: dict[str, int] = field(default_factory=dict)


def test(installation: Installation, words: Sequence[str], display: Display) -> int:
    """Run every check, `words` going to pytest; 0 when all passed. One that fails stops none of the others."""
    with _laboratory(installation, display) as (lab, environ), ThreadPoolExecutor(max_workers=1) as beside:
        static = beside.submit(lambda: [check() for check in _static_checks(lab, environ)])
        results = [_prepare_image(lab, environ, display)]
        results += _finish(static, display)
        results += _pytest_runs(lab, environ, list(words))
    return _conclude(results, display)


def bench(installation: Installation, words: Sequence[str], display: Display) -> int:
    """Run the benchmarks, `words` being their options; their exit status."""
    with _laboratory(installation, display) as (lab, environ):
        prepared = _prepare_image(lab, environ, display)
        if prepared.outcome != "passed":
            raise PortalError("The guest image could not be made.", prepared.output)
        argv = libvirtd.with_group([str(lab.python), "-m", "tests.bench", *words])
        return foreground(argv, environ, CHECKOUT)


def chaos(installation: Installation, words: Sequence[str], display: Display) -> int:
    """Run chaos, `words` being its options; its exit status. Root makes the host that it breaks."""
    with _laboratory(installation, display) as (lab, environ):
        own = {**environ, "VMPORTAL_VAR": str(installation.var)}
        argv = [str(lab.python), "-m", "tests.chaos", *words]
        return foreground(argv, own, CHECKOUT)


def screenshots(installation: Installation, words: Sequence[str], display: Display) -> int:
    """Take pictures of every page of a furnished portal, `words` being the options; their exit status."""
    with _laboratory(installation, display) as (lab, environ):
        argv = [str(lab.python), "-m", "tests.e2e.screenshots", *words]
        return foreground(argv, environ, CHECKOUT)


@contextmanager
def _laboratory(installation: Installation, display: Display) -> Iterator[tuple[Installation, dict[str, str]]]:
    """What tests need around them, beside the real installation: packages, environment, libvirtd, a Redis."""
    installation.prepare()
    lab = Installation(installation.var / "test")
    lab.prepare()
    with installation.lock(), ExitStack() as stack:
        # The environment is the installation's own; the dev lock holds all that the runtime's does.
        prepare_system(installation, {*packages.RUNTIME, *packages.IMAGE, *packages.TESTS}, "dev", display, lab)
        stack.callback(libvirtd.release, lab)
        environ = {
            **installation.environment(),
            "VMPORTAL_VAR": str(lab.var),
            "VMPORTAL_INSTALLATION": lab.id(),
            "VMPORTAL_IMAGE_STORE": str(installation.var / "images"),
            "VMPORTAL_PROTECTED_ADDRESSES": ",".join(machine_addresses()),
            "SECRET_KEY": secrets.token_urlsafe(60),
            "HYPOTHESIS_STORAGE_DIRECTORY": str(installation.var / "cache" / "hypothesis"),
            "REDIS_URL": f"unix://{lab.redis_socket}",
        }
        for name in NOT_FOR_TESTS:
            environ.pop(name, None)
        stack.enter_context(_private_redis(installation, lab, environ))
        yield Installation(installation.var), environ


@contextmanager
def _private_redis(installation: Installation, lab: Installation, environ: dict[str, str]) -> Iterator[None]:
    """A Redis on the laboratory's socket for the time of the block."""
    marker, _, value = lab.marker.partition("=")
    lab.redis_socket.unlink(missing_ok=True)
    argv = [environment.redis_server(installation), "--port", "0", "--unixsocket", lab.redis_socket, "--save", ""]
    with (lab.logs / "redis.log").open("ab") as log:
        server = subprocess.Popen(
            [str(word) for word in [*argv, "--dir", lab.run]], stdout=log, stderr=log, env={**environ, marker: value}
        )
    try:
        deadline = time.monotonic() + REDIS_SECONDS
        while not libvirtd.answers(lab.redis_socket):
            if server.poll() is not None or time.monotonic() > deadline:
                raise PortalError("The tests' Redis did not start.", f"See {lab.logs / 'redis.log'}.")
            time.sleep(0.05)
        yield
    finally:
        server.terminate()
        server.wait()


def _static_checks(installation: Installation, environ: dict[str, str]) -> list[Callable[[], Result]]:
    """What needs no test run. Their caches are kept in the installation."""
    binaries, python, cache = installation.venv / "bin", installation.python, installation.var / "cache"
    manage: list[str | Path] = [python, CHECKOUT / "manage.py"]
    production = {
        **environ,
        "VMPORTAL_PUBLIC_URL": "https://vms.example.org",
        "ALLOWED_HOSTS": "vms.example.org",
        "DATABASE_URL": f"sqlite:///{installation.var / 'test' / 'check.sqlite3'}",
    }
    commands: list[tuple[str, list[str | Path], dict[str, str]]] = [
        ("ruff check", [binaries / "ruff", "check", "--cache-dir", cache / "ruff", "."], environ),
        ("ruff format", [binaries / "ruff", "format", "--check", "--cache-dir", cache / "ruff", "."], environ),
        ("mypy", [binaries / "mypy", "--cache-dir", cache / "mypy"], environ),
        ("import layers", [binaries / "lint-imports", "--cache-dir", cache / "import_linter"], environ),
        ("migrations", [*manage, "makemigrations", "--check", "--dry-run"], production),
        ("migration rules", [*manage, "check_migrations"], production),
        ("check --deploy", [*manage, "check", "--deploy", "--fail-level", "WARNING"], production),
    ]
    checks = [lambda each=each: _check(*each) for each in commands]
    return [*checks, lambda: _audit(installation, environ)]


def _check(name: str, argv: Sequence[str | Path], environ: dict[str, str]) -> Result:
    started = time.monotonic()
    done = subprocess.run(
        [str(word) for word in argv],
        cwd=CHECKOUT,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    outcome = "failed" if done.returncode else "passed"
    return Result(name, outcome, time.monotonic() - started, done.stdout.strip())


def _audit(installation: Installation, environ: dict[str, str]) -> Result:
    """Known vulnerabilities of the locked packages; skipped where the service that knows them is out of reach."""
    argv: list[str | Path] = [
        installation.venv / "bin" / "pip-audit",
        "--disable-pip",
        "--require-hashes",
        "--progress-spinner",
        "off",
    ]
    argv += ["--timeout", "10", "-r", CHECKOUT / "requirements" / "runtime.txt"]
    result = _check("pip-audit", ["timeout", str(AUDIT_SECONDS), *argv], environ)
    unknown = result.output.count("could not be audited")
    if unknown and "known vulnerabilit" not in result.output.replace("No known vulnerabilit", ""):
        return Result(result.name, "skipped", result.seconds, f"its service knows nothing of {unknown} packages")
    if result.outcome == "failed" and "known vulnerabilit" not in result.output:
        last = (result.output.splitlines() or ["no answer"])[-1]
        return Result(result.name, "skipped", result.seconds, f"its service cannot be reached: {last[:200]}")
    return result


def _prepare_image(installation: Installation, environ: dict[str, str], display: Display) -> Result:
    """Compile the catalogues and build the small guest image, when it is not there, by way of a database of its own."""
    scratch = {**environ, "DATABASE_URL": f"sqlite:///{installation.var / 'test' / 'images.sqlite3'}"}
    manage: list[str | Path] = [installation.python, CHECKOUT / "manage.py"]
    try:
        with display.step("Preparing the guest image"):
            for words in PREPARATIONS:
                result = _check("guest image", [*manage, *words], scratch)
                if result.outcome != "passed":
                    raise PortalError("guest image", result.output)
    except PortalError as error:
        return Result("guest image", "failed", 0, error.details)
    return result


def _finish(static: "Future[list[Result]]", display: Display) -> list[Result]:
    """Wait for the checks that ran beside, and show each."""
    with display.step("Static checks"):
        results = static.result()
    for result in results:
        display.say(f"    {result.name}: {result.outcome} ({result.seconds:.1f} s)")
        if result.outcome != "passed":
            display.say("\n".join(f"      {line}" for line in result.output.splitlines()))
    return results


def _pytest_runs(installation: Installation, environ: dict[str, str], words: list[str]) -> list[Result]:
    """Every test on SQLite, then those of BOTH_DATABASES on PostgreSQL."""
    results = [_pytest("pytest (SQLite)", installation, environ, words)]
    narrowed = both_databases(words)
    if narrowed is None:
        return [*results, Result("pytest (PostgreSQL)", "skipped", 0, "none of the named tests runs on it")]
    try:
        with private_postgres() as url:
            results.append(_pytest("pytest (PostgreSQL)", installation, {**environ, "DATABASE_URL": url}, narrowed))
    except PortalError as error:
        results.append(Result("pytest (PostgreSQL)", "failed", 0, f"{error.message}\n{error.details}"))
    return results


def both_databases(words: list[str]) -> list[str] | None:
    """The words for pytest on PostgreSQL: named paths only inside its places; None when nothing is left."""
    values = {place + 1 for place, word in enumerate(words) if word in TAKING_A_VALUE}
    named = [
        word
        for place, word in enumerate(words)
        if place not in values and not word.startswith("-") and (CHECKOUT / word.split("::")[0]).exists()
    ]
    all_of_them = [place for place in BOTH_DATABASES if (CHECKOUT / place).exists()]
    kept = [word for word in named if word.startswith(BOTH_DATABASES)] if named else all_of_them
    return [*(word for word in words if word not in named), *kept] if kept else None


def _pytest(name: str, installation: Installation, environ: dict[str, str], words: list[str]) -> Result:
    report = installation.var / "test" / "report.xml"
    report.unlink(missing_ok=True)
    argv: list[str | Path] = [
        installation.python,
        "-m",
        "pytest",
        "-o",
        f"cache_dir={installation.var / 'cache' / 'pytest'}",
    ]
    argv += [f"--junit-xml={report}", *words]
    started = time.monotonic()
    print(f"\n{name}", flush=True)
    status = foreground(libvirtd.with_group([str(word) for word in argv]), environ, CHECKOUT)
    counts = read_report(report)
    fine = status == 0 or (status == NO_TESTS_RAN and words)
    # Without a report pytest did not come to its end, whatever the process that ended says.
    outcome = "passed" if fine and report.exists() else "failed"
    return Result(name, outcome, time.monotonic() - started, counts=counts)


def read_report(path: Path) -> dict[str, int]:
    """What a JUnit report counts: passed, failed, skipped, errors. Empty where there is no report."""
    try:
        suites = list(ET.parse(path).getroot().iter("testsuite"))  # noqa: S314 - our own pytest wrote it
    except (OSError, ET.ParseError):
        return {}
    counts = {
        key: sum(int(suite.get(key, 0)) for suite in suites) for key in ("tests", "failures", "errors", "skipped")
    }
    failed, errors, skipped = counts["failures"], counts["errors"], counts["skipped"]
    return {
        "failed": failed,
        "passed": counts["tests"] - failed - errors - skipped,
        "skipped": skipped,
        "errors": errors,
    }


def _conclude(results: list[Result], display: Display) -> int:
    """The table of all checks, and a last line like pytest's own; the exit status."""
    marks = {"passed": "✓", "failed": "✗", "skipped": "-"}
    display.say("\nSummary")
    for result in results:
        counts = ", ".join(f"{count} {what}" for what, count in result.counts.items() if count)
        note = counts or (result.output.splitlines() or [""])[-1][:90] if result.outcome != "passed" or counts else ""
        display.say(f"  {marks[result.outcome]} {result.name:<20} {result.outcome:<8} {result.seconds:7.1f} s  {note}")
    failed = [result for result in results if result.outcome == "failed"]
    if failed:
        display.say(f"  Failed: {', '.join(result.name for result in failed)}")
    sys.stdout.flush()
    display.say(closing_line(results))
    return 1 if failed else 0


def closing_line(results: list[Result]) -> str:
    """All pytest runs together, as one run of pytest says it."""
    total = {
        key: sum(result.counts.get(key, 0) for result in results) for key in ("failed", "passed", "skipped", "errors")
    }
    words = [f"{count} {what}" for what, count in total.items() if count] or ["no tests ran"]
    return f"==== {', '.join(words)} in {sum(result.seconds for result in results):.2f}s ===="
