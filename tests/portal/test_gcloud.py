"""`./portal gcloud`: the environment it runs gcloud in."""

from pathlib import Path

import pytest

from vmportal.launcher import gcloud
from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import Installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    """One that listens on port 8123."""
    made = Installation(tmp_path)
    made.run.mkdir()
    made.remember("address", {"url": "http://127.0.0.1:8123"})
    return made


@pytest.fixture
def token(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names a file with one."""
    path = installation.var / "token"
    path.write_text("vmp_secret\n")
    monkeypatch.setenv(gcloud.TOKEN_FILE, str(path))


def test_it_is_pointed_at_this_installation(
    installation: Installation, token: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDSDK_CORE_PROJECT", "mine")
    monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE", "https://elsewhere.example/")
    found = gcloud.environment(installation)
    assert found["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"] == "http://127.0.0.1:8123/compute/v1/"
    assert found["CLOUDSDK_CORE_PROJECT"] == "mine"
    assert Path(found["CLOUDSDK_CONFIG"]).is_relative_to(installation.var)


@pytest.mark.parametrize("path", ["", "/nowhere/token", "/tmp"])
def test_without_a_token_it_says_how_to_get_one(
    path: str, installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(gcloud.TOKEN_FILE, path)
    with pytest.raises(PortalError) as told:
        gcloud.environment(installation)
    assert "create_token" in told.value.details


def test_its_words_and_its_status_are_passed_on(
    installation: Installation, token: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "gcloud").write_text('#!/bin/sh\necho "$@" > "$CLOUDSDK_CONFIG.words"\nexit 3\n')
    (programs / "gcloud").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    assert gcloud.gcloud(installation, ["compute", "zones", "list"]) == 3
    assert (installation.var / "gcloud.words").read_text() == "compute zones list\n"
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PortalError):
        gcloud.gcloud(installation, [])
