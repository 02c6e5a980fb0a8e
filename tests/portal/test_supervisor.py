"""What is run, and the files that say so; read back by supervisor's own parser."""

from pathlib import Path

import pytest
from supervisor.options import ServerOptions

from vmportal.launcher import supervisor
from vmportal.launcher.installation import Installation
from vmportal.launcher.supervisor import Listening, Program


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    made = Installation(tmp_path / "it's a va;r")
    made.prepare()
    (made.venv / "bin").mkdir(parents=True)
    return made


def read_back(path: Path) -> ServerOptions:
    options = ServerOptions()
    options.realize(["-c", str(path)])
    return options


def test_supervisor_reads_back_each_process_from_a_directory_with_an_odd_name(installation: Installation) -> None:
    wanted = supervisor.programs(installation, Listening("127.0.0.1", 8000))
    options = read_back(supervisor.write_configuration(installation, wanted))
    found = {each.name: each for group in options.process_group_configs for each in group.process_configs}
    assert list(found) == ["redis", "web", "gateway", "worker", "beat", "watcher"]
    assert found["redis"].command.endswith('/run/redis.conf"')
    assert all(each.autorestart for each in found.values())
    assert [name for name, each in found.items() if each.autostart] == ["redis"]
    assert found["web"].stdout_logfile == str(installation.logs / "web.log")


def test_a_single_process_is_restarted_and_its_children_end_with_it(installation: Installation) -> None:
    text = supervisor.write_configuration(installation, [Program("web", ("/bin/true",), 1)]).read_text()
    assert "autorestart = true" in text
    assert "stopasgroup = true" in text
    assert "killasgroup = true" in text


def test_no_secret_is_in_the_files_of_the_supervisor(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "the-secret-of-the-terminal")
    supervisor.write_configuration(installation, supervisor.programs(installation, Listening("127.0.0.1", 8000)))
    key = (installation.secrets / "secret_key").read_text().strip()
    written = "".join(path.read_text() for path in installation.run.glob("*.conf"))
    assert key not in written
    assert "the-secret-of-the-terminal" not in written


def test_redis_listens_on_a_private_socket_alone(installation: Installation) -> None:
    lines = supervisor.redis_configuration(installation).splitlines()
    assert "port 0" in lines
    assert "unixsocketperm 700" in lines


def test_a_given_redis_is_used_instead_of_a_private_one(installation: Installation) -> None:
    names = [each.name for each in supervisor.programs(installation, Listening("::1", 1), private_redis=False)]
    assert "redis" not in names


def test_only_behind_a_proxy_are_forwarded_addresses_believed(installation: Installation) -> None:
    plain = supervisor.programs(installation, Listening("127.0.0.1", 8000))[1].argv
    behind = supervisor.programs(installation, Listening("127.0.0.1", 8000), trust_proxy=True)[1].argv
    assert "--no-proxy-headers" in plain
    assert "--proxy-headers" in behind


def test_certificates_make_the_web_speak_tls(installation: Installation) -> None:
    listening = Listening("127.0.0.1", 8443, "/c.pem", "/k.pem")
    argv = supervisor.programs(installation, listening)[1].argv
    assert listening.scheme == "https"
    assert argv[argv.index("--ssl-certfile") + 1] == "/c.pem"
    assert argv[argv.index("--ssl-keyfile") + 1] == "/k.pem"
