"""The installation's directory: identity, secrets, refusals."""

import stat
from pathlib import Path

import pytest

from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import Installation, check_path, parse_env


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path / "var")
    made.prepare()
    return made


def test_identity_and_secret_key_are_made_once(installation: Installation) -> None:
    first, key = installation.id(), (installation.secrets / "secret_key").read_text()
    installation.prepare()
    assert installation.id() == first
    assert (installation.secrets / "secret_key").read_text() == key
    assert len(first) == 6
    assert len(key.strip()) >= 50


def test_what_is_secret_is_readable_by_its_owner_alone(installation: Installation) -> None:
    assert mode(installation.run) == mode(installation.secrets) == mode(installation.logs) == 0o700
    assert mode(installation.secrets / "secret_key") == 0o600


def test_a_mangled_identity_is_refused(installation: Installation) -> None:
    (installation.var / "installation").write_text("../etc\n")
    with pytest.raises(PortalError, match="six hex characters"):
        installation.id()


def test_a_path_too_long_for_a_unix_socket_is_refused_with_the_numbers() -> None:
    with pytest.raises(PortalError, match=r"too long: 121 bytes.*room for 79"):
        check_path(Path("/" + "a" * 120))
    check_path(Path("/" + "a" * 78))


def test_the_path_is_measured_in_bytes() -> None:
    with pytest.raises(PortalError, match="too long"):
        check_path(Path("/" + "é" * 60))


@pytest.mark.parametrize("name", ["100%", 'a"b', "a\\b", "a\nb", "a ;b"])
def test_a_name_that_would_break_the_configurations_is_refused(name: str) -> None:
    with pytest.raises(PortalError, match="Choose another"):
        check_path(Path("/srv") / name)


def test_a_file_in_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PortalError, match="cannot hold an installation"):
        Installation(tmp_path / "file").prepare()


def test_two_commands_do_not_change_one_installation_at_once(installation: Installation) -> None:
    with installation.lock(), pytest.raises(PortalError, match=r"Another \./portal is at work"), installation.lock():
        pass
    with installation.lock():
        pass


def test_the_env_file_wins_over_the_terminal_and_reaches_the_processes(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMAIL_URL", "terminal")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    monkeypatch.delenv("SECRET_KEY", raising=False)
    installation.env_file.write_text("# mail\nEMAIL_URL='smtp://mail.example.org'\nexport LOG_LEVEL=DEBUG\n\n")
    environ = installation.environment()
    assert environ["EMAIL_URL"] == "smtp://mail.example.org"
    assert environ["LOG_LEVEL"] == "DEBUG"
    assert "PYTHONPATH" not in environ
    assert "SECRET_KEY" not in environ


def test_a_bad_line_of_the_env_file_is_named() -> None:
    with pytest.raises(PortalError, match="line 2"):
        parse_env("A=1\nB C\n", Path("env"))
