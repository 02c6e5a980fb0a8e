"""An image made by the scripts as they are now, built once and kept until they change."""

import hashlib
import subprocess
from pathlib import Path

import pytest
from django.conf import settings

from lifecycle.imaging.build import SCRIPTS, BuiltImage, build, find_built
from lifecycle.imaging.catalog import RECIPES


def image_cache() -> Path:
    """Where the product's own builds keep their downloads."""
    return Path(settings.VAR) / "cache" / "images"


def built(name: str) -> BuiltImage:
    """The image `name`, from the store that belongs to the scripts' present content; built when it is not there."""
    digest = hashlib.sha256()
    for path in sorted(path for path in SCRIPTS.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(SCRIPTS)).encode() + b"\0" + path.read_bytes() + b"\0")
    store = Path(settings.VAR) / "cache" / "test-images" / digest.hexdigest()[:12]
    recipe = RECIPES[name]
    return (find_built(recipe, store) if store.exists() else None) or build(recipe, store, image_cache(), print)


@pytest.fixture(scope="session")
def tiny() -> BuiltImage:
    """The tiny image."""
    return built("tiny")


@pytest.fixture(scope="session")
def ssh_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private key; its public half is beside it."""
    path = tmp_path_factory.mktemp("ssh") / "key"
    words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "somebody@somewhere", "-f", str(path)]
    subprocess.run(words, check=True)
    return path
