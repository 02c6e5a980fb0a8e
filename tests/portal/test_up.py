"""What `./portal up` refuses before it does anything, and how it knows what is its own."""

import grp
import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stack import free_port
from vmportal.launcher import commands, environment, kvm, network, packages, testing, up
from vmportal.launcher.display import Display
from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import Installation
from vmportal.launcher.logs import _Tail
from vmportal.launcher.processes import carries, end, is_alive, mention, start_time
from vmportal.launcher.status import problems
from vmportal.launcher.supervisor import Listening

ANYWHERE = "0.0.0.0"  # noqa: S104


@pytest.fixture
def installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Installation:
    for name in ("SECRET_KEY", "ALLOWED_HOSTS", "VMPORTAL_PUBLIC_URL", "VMPORTAL_ALLOW_HTTP", "DEBUG"):
        monkeypatch.delenv(name, raising=False)
    made = Installation(tmp_path / "var")
    made.prepare()
    return made


def low_port() -> int:
    """A free port below those that Linux calls from."""
    for port in range(20000, 32768):
        with socket.socket() as probe:
            try:
                probe.bind((ANYWHERE, port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def check(installation: Installation, listening: Listening) -> None:
    up.check_request(up.process_environment(installation, listening), listening)


def test_a_safe_request_passes(installation: Installation) -> None:
    check(installation, Listening("127.0.0.1", free_port()))


def test_a_taken_port_is_refused_with_the_way_out(installation: Installation) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortalError, match=rf"127.0.0.1:{port} is taken by another program; .*--port"):
            check(installation, Listening("127.0.0.1", port))


def test_a_port_that_guests_could_reach_is_refused() -> None:
    with pytest.raises(PortalError, match="open to guests"):
        up.check_guests_are_kept_out(Listening(ANYWHERE, 40000))
    up.check_guests_are_kept_out(Listening(ANYWHERE, 8000))
    up.check_guests_are_kept_out(Listening("127.0.0.1", 40000))


def test_an_address_that_is_not_ours_is_refused(installation: Installation) -> None:
    with pytest.raises(PortalError, match="no address of this machine"):
        up.check_port(Listening("192.0.2.1", free_port()))
    with pytest.raises(PortalError, match="no address of this machine"):
        up.check_port(Listening("no such name", free_port()))


def test_listening_for_others_without_tls_is_refused(installation: Installation) -> None:
    with pytest.raises(PortalError) as refused:
        check(installation, Listening(ANYWHERE, low_port()))
    assert "VMPORTAL_PUBLIC_URL" in refused.value.details or "VMPORTAL_LISTEN" in refused.value.details


def test_listening_for_others_without_tls_can_be_allowed_by_name(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VMPORTAL_ALLOW_HTTP", "1")
    check(installation, Listening(ANYWHERE, low_port()))


@pytest.mark.parametrize(("cert", "key"), [("/nonexistent/c.pem", ""), ("", "/nonexistent/k.pem")])
def test_an_unreadable_certificate_is_refused(installation: Installation, cert: str, key: str) -> None:
    with pytest.raises(PortalError, match="cannot be read"):
        check(installation, Listening("127.0.0.1", free_port(), cert, key))


def test_a_certificate_without_its_key_is_refused(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("")
    with pytest.raises(PortalError, match="give both"):
        check(installation, Listening("127.0.0.1", free_port(), str(tmp_path / "c.pem"), ""))


def test_hosts_follow_from_where_it_listens() -> None:
    assert network.allowed_hosts(Listening("127.0.0.1", 1), "https://vms.example.org") == [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "vms.example.org",
    ]
    assert "[2001:db8::1]" in network.allowed_hosts(Listening("2001:db8::1", 1), "http://[2001:db8::1]:1")


def test_the_address_that_is_told_can_be_opened() -> None:
    assert network.public_url(Listening("127.0.0.1", 8000)) == "http://127.0.0.1:8000"
    assert network.public_url(Listening("::1", 8443, "c", "k")) == "https://[::1]:8443"
    assert network.public_url(Listening("127.0.0.1", 443, "c", "k")) == "https://127.0.0.1"
    assert ANYWHERE not in network.public_url(Listening(ANYWHERE, 8000))


def test_another_distribution_is_refused_by_its_name(tmp_path: Path) -> None:
    release = tmp_path / "os-release"
    release.write_text('PRETTY_NAME="Fedora Linux 44"\nID=fedora\nVERSION_ID=44\n')
    with pytest.raises(PortalError, match="Fedora Linux 44"):
        packages.check_distribution(release)
    release.write_text('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nID=debian\nVERSION_ID="12"\n')
    packages.check_distribution(release)


def test_missing_packages_are_those_that_are_not_installed() -> None:
    assert packages.missing(["dpkg", "no-such-package-at-all"]) == ["no-such-package-at-all"]


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a file to another group needs root")
@pytest.mark.parametrize(("mode", "becomes"), [(0o600, 0o660), (0o660, 0o660), (0o666, 0o666)])
def test_a_kvm_that_root_alone_may_open_is_given_to_its_group(mode: int, becomes: int, tmp_path: Path) -> None:
    node = tmp_path / "kvm"
    node.touch()
    node.chmod(mode)
    kvm.let_qemu_reach(node)
    group = 0 if mode == 0o666 else grp.getgrnam("kvm").gr_gid
    assert (stat.S_IMODE(node.stat().st_mode), node.stat().st_gid) == (becomes, group)


def test_without_kvm_there_is_nothing_to_give(tmp_path: Path) -> None:
    kvm.let_qemu_reach(tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("mode", "gid", "groups", "named", "does"),
    [
        (0o660, 106, {106, 64055}, True, None),
        (0o660, 108, {106, 64055}, False, "groupadd --system --gid 108 kvm-108 && usermod -aG kvm-108 libvirt-qemu"),
        (0o660, 108, {106, 64055}, True, None),
        (0o600, 108, {106, 64055}, False, None),
        (0o660, 0, {106, 64055}, True, "chgrp kvm"),
        (0o660, 108, set(), False, None),
    ],
    ids=["in reach", "a number of the machine around", "another group's number", "its owner's", "root's", "no QEMU"],
)
def test_a_kvm_out_of_reach_has_a_remedy_that_leaves_others_alone(
    mode: int, gid: int, groups: set[int], named: bool, does: str | None
) -> None:
    found = kvm.remedy("/dev/kvm", mode, gid, frozenset(groups), named)
    assert found is None if does is None else found is not None and found.startswith(does)


def test_a_failing_program_shows_its_last_lines() -> None:
    script = "for i in $(seq 40); do echo line $i; done; echo 'E: Unable to locate package' >&2; exit 100"
    with pytest.raises(PortalError, match="apt-get failed") as failed:
        commands.run(["sh", "-c", script], "apt-get failed")
    assert failed.value.details.endswith("E: Unable to locate package")
    assert len(failed.value.details.splitlines()) == commands.LAST_LINES


def test_without_sudo_a_user_is_told_to_be_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PortalError, match="sudo is not installed"):
        commands.as_root(["apt-get", "update"])


def test_roots_programs_do_not_get_the_callers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "")
    monkeypatch.setenv("SECRET_KEY", "not for root")
    shown = commands.run(commands.as_root(["env"]) if os.geteuid() == 0 else ["env", "-i", "env"], "env")
    assert "SECRET_KEY" not in shown


def test_the_environment_is_current_only_with_the_locks_own_stamp(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VMPORTAL_VENV", raising=False)
    (installation.venv / "bin").mkdir(parents=True)
    installation.python.symlink_to(sys.executable)
    stamp = installation.venv / environment.STAMP
    assert not environment.is_current(installation, "runtime")
    stamp.write_text(f"runtime:{environment.lock_hash('runtime')}\n")
    assert environment.is_current(installation, "runtime")
    assert not environment.is_current(installation, "dev")
    stamp.write_text("runtime:of-yesterday\n")
    assert not environment.is_current(installation, "runtime")


def test_processes_are_found_by_their_mark_and_ended(installation: Installation) -> None:
    key, _, value = installation.marker.partition("=")
    stubborn = "trap '' TERM; while :; do sleep 0.05; done"
    with subprocess.Popen(["sh", "-c", stubborn], env={key: value, "PATH": os.environ["PATH"]}) as process:
        deadline = time.monotonic() + 60
        while process.pid not in carries(installation.marker) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert process.pid in carries(installation.marker)
        assert carries(Installation(installation.var.parent / "other").marker) == []
        end(carries(installation.marker), grace_seconds=0.3)
        process.wait(60)
    deadline = time.monotonic() + 60  # for the last of its children, a short sleep
    while carries(installation.marker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert carries(installation.marker) == []


def test_anybodys_processes_are_known_by_the_directory_they_name(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()", str(tmp_path / "run" / "x.conf")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout
        process.stdout.readline()  # it has become itself
        found = mention(tmp_path / "run")
        end(found)
    assert process.pid in found
    assert mention(tmp_path / "other") == []


def test_a_pid_and_its_start_name_one_process() -> None:
    assert is_alive(os.getpid())
    assert start_time(os.getpid()).isdigit()
    assert start_time(2**22 + 1) == ""


def test_a_log_is_followed_across_its_rotation(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    log.write_text("old\n")
    tail = _Tail(log)
    with log.open("a") as file:
        file.write("one\nhalf")
    assert tail.read() == ["one"]
    log.rename(tmp_path / "web.log.1")
    log.write_text("two\n")
    assert tail.read() == ["halftwo"]


def test_every_problem_of_the_status_is_a_sentence() -> None:
    found = {
        "processes": [{"name": "web", "state": "RUNNING"}, {"name": "worker", "state": "BACKOFF"}],
        "http": {"status": 503, "url": "http://127.0.0.1:8000"},
        "portal": {"hosts": [{"name": "one", "healthy": False, "health": "down", "reason": "no answer"}]},
    }
    assert problems(found) == [
        "worker is BACKOFF.",
        "The web does not answer at http://127.0.0.1:8000 (status 503).",
        "Host one is down: no answer",
    ]
    assert problems({"processes": []}) == ["It is not running: start it with ./portal up."]


def test_steps_are_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Display().step("Doing it") as say:
        say("at it")
        say("already done.")
    with pytest.raises(PortalError), Display().step("Failing"):
        raise PortalError("no")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("  ✓ Doing it: already done  (")
    assert lines[1].startswith("  ✗ Failing  (")


def test_named_tests_run_on_postgresql_only_where_they_belong() -> None:
    assert testing.both_databases(["tests/portal", "-x"]) is None
    assert testing.both_databases(["tests/portal", "--ignore", "tests/services"]) is None
    assert testing.both_databases(["-k", "foo"]) == ["-k", "foo", *testing.BOTH_DATABASES]
    one = "tests/api/test_lists.py::test_it"
    assert testing.both_databases(["tests/portal", one]) == [one]


def test_a_pytest_that_vanished_has_not_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something may take its process over in the middle of a run, and end well."""
    monkeypatch.delenv("VMPORTAL_VENV", raising=False)
    installation = Installation(tmp_path)
    (tmp_path / "test").mkdir()
    installation.python.parent.mkdir(parents=True)
    installation.python.symlink_to("/bin/true")
    assert testing._pytest("pytest", installation, dict(os.environ), []).outcome == "failed"


def test_the_last_line_sums_up_all_runs_of_pytest(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text('<testsuites><testsuite tests="9" failures="2" errors="1" skipped="1"/></testsuites>')
    counts = testing.read_report(report)
    assert counts == {"failed": 2, "passed": 5, "skipped": 1, "errors": 1}
    results = [
        testing.Result("a", "failed", 1.5, counts=counts),
        testing.Result("b", "passed", 2, counts={"passed": 3}),
    ]
    assert testing.closing_line(results) == "==== 2 failed, 8 passed, 1 skipped, 1 errors in 3.50s ===="
