"""Production settings refuse what is unsafe, and name it."""

import base64
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from vmportal.launcher.installation import CHECKOUT
from vmportal.origins import allowed_origins
from vmportal.production import Exposure, is_loopback, unsafe_settings, webhook_problems

GOOD_KEY = "q8Zr-3mWx7Lk_0pTn5vBs2Yc9Hd4Fj6Ga1Ue8Io3Rw5Xz7Nt2Mb4Vq"
SAFE = Exposure(
    secret_key=GOOD_KEY,
    allowed_hosts=["vms.example.org"],
    trusted_origins=[],
    public_url="https://vms.example.org",
    listen="0.0.0.0",  # noqa: S104
    allow_plain_http=False,
    tls_at_proxy=False,
)
LOCAL = replace(SAFE, public_url="http://127.0.0.1:8000", listen="127.0.0.1")


@pytest.mark.parametrize(
    "exposure",
    [
        SAFE,
        LOCAL,
        replace(LOCAL, listen="::1", public_url="http://[::1]:8000"),
        replace(SAFE, public_url="http://10.0.0.1", allow_plain_http=True),
        replace(SAFE, trusted_origins=["https://other.example.org"]),
    ],
)
def test_what_is_safe_is_not_complained_about(exposure: Exposure) -> None:
    assert unsafe_settings(exposure) == []


@pytest.mark.parametrize(
    ("exposure", "name"),
    [
        (replace(SAFE, secret_key=""), "SECRET_KEY"),
        (replace(SAFE, secret_key="short"), "SECRET_KEY"),
        (replace(SAFE, secret_key="ab" * 40), "SECRET_KEY"),
        (replace(SAFE, secret_key=f"django-insecure-{GOOD_KEY}"), "SECRET_KEY"),
        (replace(SAFE, allowed_hosts=[]), "ALLOWED_HOSTS"),
        (replace(SAFE, allowed_hosts=["*"]), "ALLOWED_HOSTS"),
        (replace(SAFE, allowed_hosts=["vms.example.org", "*"]), "ALLOWED_HOSTS"),
        (replace(SAFE, trusted_origins=["https://*.example.org"]), "CSRF_TRUSTED_ORIGINS"),
        (replace(SAFE, trusted_origins=["http://vms.example.org"]), "CSRF_TRUSTED_ORIGINS"),
        (replace(SAFE, public_url="http://vms.example.org"), "VMPORTAL_PUBLIC_URL"),
        (replace(SAFE, public_url="vms.example.org"), "VMPORTAL_PUBLIC_URL"),
        (replace(LOCAL, listen="0.0.0.0"), "VMPORTAL_LISTEN"),  # noqa: S104
        (replace(LOCAL, listen="192.168.1.2"), "VMPORTAL_LISTEN"),
        (replace(LOCAL, test_switches=frozenset({"undo", "leases"})), "VMPORTAL_UNSAFE_TEST_SWITCHES"),
    ],
)
def test_each_unsafe_value_is_refused_by_its_name(exposure: Exposure, name: str) -> None:
    problems = unsafe_settings(exposure)
    assert len(problems) == 1
    assert problems[0].startswith(name)


def test_all_problems_are_told_at_once() -> None:
    assert len(unsafe_settings(replace(SAFE, secret_key="", allowed_hosts=["*"], public_url="http://x.org"))) == 3


def test_a_production_process_refuses_to_start_and_says_why() -> None:
    kept = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    started = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=CHECKOUT,
        env={**kept, "SECRET_KEY": "x", "ALLOWED_HOSTS": "*", "VMPORTAL_VAR": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode != 0
    assert "SECRET_KEY is too weak" in started.stderr
    assert 'ALLOWED_HOSTS holds "*"' in started.stderr


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("unix:/run/x", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("example.org", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_loopback_is_known(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_a_websocket_may_be_opened_by_our_own_pages_alone() -> None:
    local = allowed_origins("http://127.0.0.1:8000", [], "127.0.0.1")
    assert set(local) == {"http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000"}
    assert allowed_origins("https://vms.example.org", ["https://b.example.org"], "0.0.0.0") == [  # noqa: S104
        "https://vms.example.org",
        "https://b.example.org",
    ]


def test_dependencies_are_locked_by_hash_without_a_registrys_address() -> None:
    for name in ("runtime", "dev"):
        text = (CHECKOUT / "requirements" / f"{name}.txt").read_text()
        pinned = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert all("==" in line for line in pinned)
        assert text.count("--hash=sha256:") >= len(pinned)
        assert "://" not in text
        assert "--index" not in text


def test_the_dev_lock_holds_the_runtime_lock() -> None:
    def pins(name: str) -> set[str]:
        lines = (CHECKOUT / "requirements" / f"{name}.txt").read_text().splitlines()
        return {line.split()[0] for line in lines if "==" in line and not line.startswith(" ")}

    assert pins("runtime") <= pins("dev")


def test_the_state_directory_is_never_committed() -> None:
    assert "/var/" in (Path(CHECKOUT) / ".gitignore").read_text().splitlines()


WEBHOOK_SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("", ""),
        ("https://example.org/alerts", WEBHOOK_SECRET),
        ("https://example.org/alerts", WEBHOOK_SECRET.removeprefix("whsec_")),
        ("http://127.0.0.1:9000/alerts", WEBHOOK_SECRET),
        ("http://localhost/alerts", WEBHOOK_SECRET),
    ],
)
def test_a_webhook_that_is_safe_is_not_complained_about(url: str, secret: str) -> None:
    assert webhook_problems(url, secret) == []


@pytest.mark.parametrize(
    ("url", "secret", "name"),
    [
        ("http://example.org/alerts", WEBHOOK_SECRET, "ALERT_WEBHOOK_URL"),
        ("ftp://example.org/alerts", WEBHOOK_SECRET, "ALERT_WEBHOOK_URL"),
        ("https://hush:hush@example.org/", WEBHOOK_SECRET, "ALERT_WEBHOOK_URL"),
        ("example.org", WEBHOOK_SECRET, "ALERT_WEBHOOK_URL"),
        ("https://example.org:nowhere/", WEBHOOK_SECRET, "ALERT_WEBHOOK_URL"),
        ("https://example.org/", "", "ALERT_WEBHOOK_SECRET"),
        ("https://example.org/", "aHVzaA==", "ALERT_WEBHOOK_SECRET"),
        ("https://example.org/", "hush-hush-hush-hush-hush-hush-hush!", "ALERT_WEBHOOK_SECRET"),
    ],
)
def test_an_unsafe_webhook_is_named_and_not_repeated(url: str, secret: str, name: str) -> None:
    (problem,) = webhook_problems(url, secret)
    assert name in problem
    assert "hush" not in problem
