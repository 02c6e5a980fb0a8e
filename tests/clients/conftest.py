"""The product, running with a real libvirt, and tokens for the clients that other people made."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.stack import Stack, running_stack

ZONE = "zone-a"
PROJECT = "default"
MACHINE_TYPE = "tiny-1"
#: Of one token; few enough to be used up by a test.
CALLS_PER_MINUTE = 200


@dataclass(frozen=True)
class Target:
    """Where a client is pointed."""

    stack: Stack
    token: str
    token_file: Path

    @property
    def url(self) -> str:
        """Of the installation."""
        return self.stack.url

    def token_of(self, *words: str) -> str:
        """Another token of the administrator."""
        return self.stack.manage("create_token", "--user", "admin", "--project", PROJECT, *words).strip()


@pytest.fixture(scope="package")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One installation for all clients."""
    root = tmp_path_factory.mktemp("clients")
    with running_stack(root, extra={"VMPORTAL_API_CALLS_PER_MINUTE": str(CALLS_PER_MINUTE)}) as stack:
        token = stack.manage("create_token", "--user", "admin", "--project", PROJECT).strip()
        path = root / "token"
        path.touch(0o600)
        path.write_text(token)
        yield Target(stack, token, path)
