"""Says what is unsafe about a configuration; pure, so that each rule can be tested by itself."""

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

MINIMUM_KEY_LENGTH = 50
MINIMUM_KEY_VARIETY = 10
# Bytes, as the Standard Webhooks specification has it.
SHORTEST_WEBHOOK_SECRET, LONGEST_WEBHOOK_SECRET = 24, 64
GUESSABLE_KEYS = ("insecure", "changeme", "change-me", "secret", "example", "password")


@dataclass(frozen=True)
class Exposure:
    """The settings on which an installation's safety hangs."""

    secret_key: str
    allowed_hosts: list[str]
    trusted_origins: list[str]
    public_url: str
    listen: str
    allow_plain_http: bool
    tls_at_proxy: bool
    test_switches: frozenset[str] = frozenset()


def unsafe_settings(exposure: Exposure) -> list[str]:
    """Every unsafe value, each as a sentence that opens with the name of the setting."""
    return [
        *_key_problems(exposure),
        *_host_problems(exposure),
        *_transport_problems(exposure),
        *_switch_problems(exposure),
    ]


def _key_problems(exposure: Exposure) -> Iterator[str]:
    key = exposure.secret_key
    if not key:
        yield "SECRET_KEY is not set: give at least 50 random characters."
    elif len(key) < MINIMUM_KEY_LENGTH or len(set(key)) < MINIMUM_KEY_VARIETY:
        yield "SECRET_KEY is too weak: give at least 50 random characters."
    elif any(word in key.lower() for word in GUESSABLE_KEYS):
        yield "SECRET_KEY looks like an example's: give at least 50 random characters."


def _host_problems(exposure: Exposure) -> Iterator[str]:
    if not exposure.allowed_hosts:
        yield "ALLOWED_HOSTS is empty: name the hosts under which the portal is reached."
    if any(host in {"*", "."} or host.startswith("*") for host in exposure.allowed_hosts):
        yield 'ALLOWED_HOSTS holds "*": name the hosts under which the portal is reached.'
    for origin in exposure.trusted_origins:
        parts = urlsplit(origin)
        if "*" in origin:
            yield f'CSRF_TRUSTED_ORIGINS holds "{origin}": wildcards trust hosts that are not yours.'
        elif parts.scheme != "https" and not is_loopback(parts.hostname or "") and not exposure.allow_plain_http:
            yield f'CSRF_TRUSTED_ORIGINS holds "{origin}": a plain-text origin can be forged on the network; use https.'


def _transport_problems(exposure: Exposure) -> Iterator[str]:
    public = urlsplit(exposure.public_url)
    if public.scheme not in {"http", "https"} or not public.hostname:
        yield f'VMPORTAL_PUBLIC_URL is "{exposure.public_url}": give the full address, such as https://vms.example.org.'
        return
    if public.scheme == "https" or exposure.allow_plain_http:
        return
    if not is_loopback(public.hostname):
        yield (
            "VMPORTAL_PUBLIC_URL is plain http on an address that others reach: passwords would cross the network "
            "unencrypted. Give certificates, a TLS proxy, or VMPORTAL_ALLOW_HTTP=1 if you know better."
        )
    elif not is_loopback(exposure.listen) and not exposure.tls_at_proxy:
        yield (
            f"VMPORTAL_LISTEN is {exposure.listen} without TLS: passwords would cross the network unencrypted. "
            "Give certificates, a TLS proxy, or VMPORTAL_ALLOW_HTTP=1 if you know better."
        )


def _switch_problems(exposure: Exposure) -> Iterator[str]:
    if exposure.test_switches:
        names = ", ".join(sorted(exposure.test_switches))
        yield f"VMPORTAL_UNSAFE_TEST_SWITCHES switches {names} off: only tests may do that, with DEBUG=1."


def webhook_problems(url: str, secret: str) -> list[str]:
    """What is wrong with the webhook of alerts, each as a sentence; the values themselves are not repeated."""
    if not url:
        return []
    found = []
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or not _has_port(parts):
        found.append("ALERT_WEBHOOK_URL is not a full address without a password, such as https://example.org/alerts.")
    elif parts.scheme != "https" and not is_loopback(parts.hostname):
        found.append("ALERT_WEBHOOK_URL is plain http on another machine: use https.")
    try:
        length = len(b64decode(secret.removeprefix("whsec_"), validate=True))
    except ValueError:
        length = 0
    if not SHORTEST_WEBHOOK_SECRET <= length <= LONGEST_WEBHOOK_SECRET:
        found.append("ALERT_WEBHOOK_SECRET is not the base64 of 24 to 64 random bytes: try `openssl rand -base64 32`.")
    return found


def _has_port(parts: SplitResult) -> bool:
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host` (a name, an address, or a UNIX socket's `unix:` path)."""
    if host in {"localhost", "ip6-localhost"} or host.endswith(".localhost") or host.startswith("unix:"):
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
