"""The pages' libraries: from a lock with hashes and no address, installed by npm, served as far as they are needed."""

import json
import re
from pathlib import Path, PurePosixPath

import pytest
from django.contrib.staticfiles import finders
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import override_settings
from pytest_django import Settings

from vmportal.launcher import browser
from vmportal.launcher.installation import CHECKOUT, Installation
from vmportal.static import LIBRARIES, LibraryFinder

IMPORT = re.compile(r"""(?:^|;)\s*(?:import|export)\b[^;'"]*?\bfrom\s*["']([^"']+)["']""", re.MULTILINE)
TEMPLATE_STATIC = re.compile(r"""\{%\s*static\s+['"](vendor/[^'"]+)['"]""")


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything static, as it is served."""
    root = tmp_path_factory.mktemp("collected")
    with override_settings(STATIC_ROOT=root):  # the storage, made once a process, follows it
        call_command("collectstatic", interactive=False, verbosity=0)
    return root


def manifest(collected: Path) -> dict[str, str]:
    return dict(json.loads((collected / "staticfiles.json").read_text())["paths"])


def test_the_lock_pins_every_package_by_hash_and_names_no_address() -> None:
    text = (CHECKOUT / "package-lock.json").read_text()
    packages = {name: found for name, found in json.loads(text)["packages"].items() if name}
    assert packages
    assert not re.search(r"https?:|//", re.sub(r'"integrity": "[^"]*"', "", text))
    assert all(found["integrity"].startswith("sha512-") for found in packages.values())
    assert all("resolved" not in found for found in packages.values())


def test_the_lock_is_that_of_the_named_versions() -> None:
    wanted = json.loads((CHECKOUT / "package.json").read_text())
    locked = json.loads((CHECKOUT / "package-lock.json").read_text())["packages"]
    for kind in ("dependencies", "devDependencies"):
        assert wanted[kind] == locked[""][kind]
        for name, version in wanted[kind].items():
            assert locked[f"node_modules/{name}"]["version"] == version


def test_every_served_package_is_locked_and_every_locked_one_served() -> None:
    names = {
        "/".join(PurePosixPath(source).parts[: 2 if source.startswith("@") else 1])
        for _served, source, _files in LIBRARIES
    }
    assert names == set(json.loads((CHECKOUT / "package.json").read_text())["dependencies"])


def test_every_library_file_that_pages_name_exists() -> None:
    named = {
        name
        for template in (CHECKOUT / "templates").rglob("*.html")
        for name in TEMPLATE_STATIC.findall(template.read_text())
    }
    named |= {
        str(PurePosixPath("vendor") / found.split("vendor/", 1)[1])
        for module in (CHECKOUT / "static" / "js").rglob("*.js")
        for found in IMPORT.findall(module.read_text())
        if "vendor/" in found
    }
    assert [name for name in sorted(named) if not finders.find(name)] == []
    assert finders.find("vendor/novnc/core/rfb.js")
    assert not finders.find("vendor/novnc/package.json")


def test_every_import_of_a_collected_module_names_a_hashed_file_that_is_there(collected: Path) -> None:
    paths = manifest(collected)
    modules = [name for name in paths if name.startswith(("vendor/novnc/", "js/")) and name.endswith(".js")]
    imports = [
        (collected / paths[name]).parent / found
        for name in modules
        for found in IMPORT.findall((collected / paths[name]).read_text())
    ]
    assert len(imports) > 50
    stored = {(collected / name).resolve() for name in paths.values()}
    assert [path for path in imports if path.resolve() not in stored] == []


def test_libraries_are_compressed_and_only_what_is_needed_is_served(collected: Path) -> None:
    stored = manifest(collected)["vendor/xterm/xterm.mjs"]
    assert (collected / f"{stored}.gz").exists()
    kinds = {path.suffix for path in (collected / "vendor").rglob("*") if path.is_file()}
    assert kinds == {".js", ".mjs", ".css", ".gz", ".br"}
    assert not list(collected.rglob("*axe*"))


def test_a_missing_library_is_named_with_the_way_out(settings: Settings, tmp_path: Path) -> None:
    settings.NODE_MODULES = tmp_path
    with pytest.raises(ImproperlyConfigured, match=r"@novnc/novnc/core/\*.js is not in .*: ./portal up"):
        list(LibraryFinder().list(()))


def test_the_libraries_are_current_only_with_the_locks_own_stamp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VMPORTAL_NODE_MODULES", raising=False)
    installation = Installation(tmp_path / "var")
    installation.node_modules.mkdir(parents=True)
    stamp = installation.node_modules.parent / browser.STAMP
    assert not browser.is_current(installation, "runtime")
    stamp.write_text(f"runtime:{browser.lock_hash()}\n")
    assert browser.is_current(installation, "runtime")
    assert not browser.is_current(installation, "dev")
    stamp.write_text("runtime:of-yesterday\n")
    assert not browser.is_current(installation, "runtime")


def test_ready_libraries_are_used_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMPORTAL_NODE_MODULES", str(tmp_path))
    installation = Installation(tmp_path / "var")
    assert installation.node_modules == tmp_path
    assert browser.is_current(installation, "dev")


def test_debians_npm_is_wanted_only_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browser.packages_for_npm() == {"npm"}
    (tmp_path / "npm").write_text("#!/bin/sh\n")
    (tmp_path / "npm").chmod(0o755)
    assert browser.packages_for_npm() == set()


def test_npm_is_asked_for_the_locks_packages_and_runs_none_of_their_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VMPORTAL_NODE_MODULES", raising=False)
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "npm"
    fake.write_text('#!/bin/sh\necho "$@" > asked\nls package-lock.json .npmrc >> asked\nmkdir -p node_modules\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:/usr/bin:/bin")
    installation = Installation(tmp_path / "var")
    installation.prepare()
    browser.install(installation, "runtime", lambda _line: None)
    asked = (installation.node_modules.parent / "asked").read_text()
    assert {"ci", "--ignore-scripts", "--omit=dev"} <= set(asked.split())
    assert "package-lock.json" in asked
    assert browser.is_current(installation, "runtime")
