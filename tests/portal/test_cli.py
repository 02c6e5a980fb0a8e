"""What `./portal` understands, and how it refuses."""

from pathlib import Path

import pytest

from vmportal.launcher import cli
from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import CHECKOUT, Installation


@pytest.fixture(autouse=True)
def no_settings_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    # With a ready environment `manage` would become manage.py, and pytest would be gone in the middle of its run.
    of_the_environment = ("VMPORTAL_VENV", "VMPORTAL_NODE_MODULES")
    of_listening = ("VMPORTAL_PORT", "VMPORTAL_LISTEN", "VMPORTAL_TLS_CERT", "VMPORTAL_TLS_KEY")
    for name in ("VMPORTAL_VAR", *of_listening, *of_the_environment):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("command", ["manage", "test", "bench", "chaos", "screenshots"])
def test_words_after_a_passing_command_are_passed_as_they_are(command: str) -> None:
    words = ["migrate", "--plan", "-k", "a b", "--", "--help", "-x"]
    for before in ([], ["--var", "test"], ["--var=test"]):
        assert cli.split_words([*before, command, *words]) == ([*before, command], words)


def test_the_words_of_other_commands_are_ours() -> None:
    assert cli.split_words(["--var", "x", "up", "--port", "1"]) == (["--var", "x", "up", "--port", "1"], [])
    assert cli.split_words([]) == ([], [])


def test_var_stands_before_the_command(tmp_path: Path) -> None:
    arguments = cli.parser().parse_args(["--var", str(tmp_path), "up", "--detach", "--port", "8001"])
    assert (arguments.var, arguments.detach, arguments.port) == (tmp_path, True, 8001)


def test_the_directory_is_the_option_then_the_environment_then_the_checkouts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.chosen_var(None) == CHECKOUT / "var"
    monkeypatch.setenv("VMPORTAL_VAR", str(tmp_path / "environment"))
    assert cli.chosen_var(None) == tmp_path / "environment"
    assert cli.chosen_var(tmp_path / "option") == tmp_path / "option"


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "", "８０００", "80 "])
def test_what_is_no_port_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parser().parse_args(["up", f"--port={text}"])
    assert "is no port" in capsys.readouterr().err


def test_listening_takes_options_before_the_env_file_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "env").write_text("VMPORTAL_PORT=8002\n")
    monkeypatch.setenv("VMPORTAL_PORT", "8003")
    monkeypatch.setenv("VMPORTAL_LISTEN", "::1")
    installation = Installation(tmp_path)
    found = cli.listening(cli.parser().parse_args(["up"]), installation)
    assert (found.listen, found.port) == ("::1", 8002)
    found = cli.listening(cli.parser().parse_args(["up", "--port", "8001", "--listen", "127.0.0.1"]), installation)
    assert (found.listen, found.port) == ("127.0.0.1", 8001)


def test_a_port_in_the_env_file_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("VMPORTAL_PORT=many\n")
    with pytest.raises(PortalError, match="VMPORTAL_PORT"):
        cli.listening(cli.parser().parse_args(["up"]), Installation(tmp_path))


def test_manage_before_the_first_up_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--var", str(tmp_path / "none"), "manage", "check"]) == 1
    assert "run ./portal up first" in capsys.readouterr().err


def test_status_of_nothing_is_unhealthy_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--var", str(tmp_path / "none"), "status"]) == 1
    assert "not running" in capsys.readouterr().out
    assert not (tmp_path / "none").exists()
    assert cli.main(["--var", str(tmp_path), "status"]) == 1
    assert not list(tmp_path.iterdir()), "a directory of others does not become an installation by being asked about"


def test_down_of_nothing_is_no_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--var", str(tmp_path / "none"), "down"]) == 0
    assert "no installation" in capsys.readouterr().out


def test_logs_of_nothing_say_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["web"], ["-f"]):
        assert cli.main(["--var", str(tmp_path / "none"), "logs", *words]) == 1
        assert "run ./portal up first" in capsys.readouterr().err


def test_logs_of_an_unknown_process_names_the_known_ones(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "web.log").write_text("one\ntwo\nthree\n")
    assert cli.main(["--var", str(tmp_path), "logs", "wbe"]) == 1
    assert "there are: web" in capsys.readouterr().err
    assert cli.main(["--var", str(tmp_path), "logs", "web", "-n", "2"]) == 0
    assert capsys.readouterr().out == "two\nthree\n"
    assert cli.main(["--var", str(tmp_path), "logs", "web", "-n", "0"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["-1", "all", "", "1.5"])
def test_what_is_no_number_of_lines_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parser().parse_args(["logs", f"--lines={text}"])
    assert "is no number of lines" in capsys.readouterr().err
