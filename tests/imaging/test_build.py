"""What `build` does with a script's result, whatever happens; and the real scripts' demands on the machine."""

import dataclasses
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from lifecycle.imaging import build as building
from lifecycle.imaging.build import SCRIPTS, BuiltImage, ImagingError, MissingTools, build, find_built, inspect
from lifecycle.imaging.catalog import RECIPES, BuildRecipe
from vmportal.launcher.packages import IMAGE, RUNTIME

EMPTY_IMAGE = 'qemu-img create -q -f qcow2 "$1" 1M\n'


def recipe_of(tmp_path: Path, script: str, name: str = "tiny") -> BuildRecipe:
    """A recipe whose script is `script`."""
    path = tmp_path / "script.sh"
    path.write_text("set -e\n" + script)
    return dataclasses.replace(RECIPES[name], script=str(path))


def build_with(tmp_path: Path, script: str) -> tuple[BuiltImage, list[str]]:
    lines: list[str] = []
    image = build(recipe_of(tmp_path, script), tmp_path / "store", tmp_path / "cache", lines.append)
    return image, lines


def files_in(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir() if path.name != ".lock")


def test_the_file_is_named_after_its_checksum_and_read_only(tmp_path: Path) -> None:
    image, _ = build_with(tmp_path, EMPTY_IMAGE)
    assert files_in(tmp_path / "store") == [f"tiny-{image.sha256[:12]}.qcow2"]
    assert image.path.stat().st_mode & 0o777 == 0o444
    assert (image.format, image.virtual_size_bytes, image.architecture) == ("qcow2", 2**20, "x86_64")
    assert image.size_bytes == image.path.stat().st_size


def test_every_line_of_the_script_is_told(tmp_path: Path) -> None:
    _, lines = build_with(tmp_path, "echo one\necho two >&2\n" + EMPTY_IMAGE)
    assert lines == ["one", "two"]


def test_a_failing_script_is_told_with_its_last_lines_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ImagingError, match=r"(?s)failed with exit status 7.*no mirror answers"):
        build_with(tmp_path, 'echo half > "$1"; echo no mirror answers; exit 7\n')
    assert files_in(tmp_path / "store") == []


def test_a_file_that_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImagingError, match="qemu-img check"):
        build_with(tmp_path, 'echo garbage > "$1"\n')
    assert files_in(tmp_path / "store") == []


def test_an_image_that_needs_another_file_is_refused(tmp_path: Path) -> None:
    script = 'qemu-img create -q -f qcow2 base 1M; qemu-img create -q -f qcow2 -b "$PWD/base" -F qcow2 "$1"\n'
    with pytest.raises(ImagingError):
        build_with(tmp_path, script)
    assert files_in(tmp_path / "store") == []


def test_a_script_that_hangs_is_ended_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "BUILD_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(ImagingError, match="took longer"):
        build_with(tmp_path, "sleep 60 | cat\n")
    assert time.monotonic() - began < 30


def test_what_a_killed_build_left_behind_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "store" / ".building-abc"
    left.mkdir(parents=True)
    (left / "image.qcow2").write_bytes(b"half")
    build_with(tmp_path, EMPTY_IMAGE)
    assert not left.exists()


def test_a_second_build_in_a_store_waits_for_the_first(tmp_path: Path) -> None:
    script = f"[ ! -e {tmp_path}/busy ]; touch {tmp_path}/busy; sleep 0.5; rm {tmp_path}/busy; {EMPTY_IMAGE}"
    failures: list[Exception] = []

    def run() -> None:
        try:
            build_with(tmp_path, script)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(files_in(tmp_path / "store")) == 1


def test_a_damaged_file_in_the_store_is_not_found(tmp_path: Path) -> None:
    image, _ = build_with(tmp_path, EMPTY_IMAGE)
    recipe, store = RECIPES["tiny"], tmp_path / "store"
    assert find_built(recipe, store) == image
    image.path.chmod(0o644)
    with image.path.open("ab") as file:
        file.write(b"x")
    assert find_built(recipe, store) is None


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_missing_programs_are_named_with_the_command_that_brings_them(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "dirname", "realpath", "sort", "paste", "id"):
        found = shutil.which(tool)
        assert found
        (tools / tool).symlink_to(found)
    recipe = dataclasses.replace(RECIPES[name], script=str(_script_without_system_path(tmp_path, RECIPES[name])))
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(MissingTools, match=r"(?s)missing on this machine: .*mtools.*apt-get install .*mtools"):
        build(recipe, tmp_path / "store", tmp_path / "cache", lambda line: None)


def _script_without_system_path(tmp_path: Path, recipe: BuildRecipe) -> Path:
    """A copy of the scripts that does not add the system's own directories to PATH."""
    copy = tmp_path / "scripts"
    shutil.copytree(SCRIPTS, copy)
    common = copy / "common.sh"
    common.write_text(common.read_text().replace(':/usr/sbin:/sbin"', '"'))
    return copy / recipe.script


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_what_a_script_asks_for_is_what_the_set_up_installs(name: str) -> None:
    recipe = RECIPES[name]
    script = (SCRIPTS / recipe.script).read_text().replace("\\\n", " ")
    asked = set(re.findall(r"=([a-z][a-z0-9-]+)", " ".join(re.findall(r"need_tools (.*)", script)).replace('"', "")))
    always_there = {"apt", "dpkg"}
    assert asked - always_there == set(recipe.host_packages)
    assert set(recipe.host_packages) <= {*IMAGE, *RUNTIME}


@pytest.mark.slow
def test_the_tiny_image_is_small_and_whole(tiny: BuiltImage) -> None:
    assert inspect(tiny.path, "x86_64") == tiny
    assert tiny.size_bytes < 24 * 2**20
    assert tiny.virtual_size_bytes < RECIPES["tiny"].min_disk_gib * 2**30


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_tiny_image_needs_no_root() -> None:
    """Built by nobody, whose files in the image still belong to root."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own directories are closed to other users
        directory = Path(name)
        directory.chmod(0o777)
        shutil.copytree(SCRIPTS, directory / "scripts")
        script = 'mkdir work && cd work && bash ../scripts/tiny.sh "$PWD/../out.qcow2" "$PWD/../cache"'
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash", "-c", script]
        environ = {"PATH": os.environ["PATH"]}
        done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warning" not in done.stderr.lower()
        look = ["debugfs", "-R", "stat /bin/busybox", str(directory / "work" / "root.ext4")]
        owner = subprocess.run(look, capture_output=True, text=True, check=True).stdout
        assert re.search(r"User:\s+0 +Group:\s+0 ", owner)
