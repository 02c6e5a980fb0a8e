"""How static files are found and stored: named by their content, compressed, cached for ever by browsers."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles.finders import BaseFinder
from django.core.exceptions import ImproperlyConfigured
from django.core.files.storage import FileSystemStorage
from whitenoise.storage import CompressedManifestStaticFilesStorage

# In modules `import ... from "./page.js";` names the stored name too, or browsers would keep an old module.
# Django can do so for every file, which fails on packages whose modules expect a bundler.
_FROM = r"""["'](?P<url>\.{1,2}/[^"']+)["']\s*;)"""
_MODULE_PATTERNS = (
    (r"""(?P<matched>import\s+(?P<import>[^'";]+?)\s+from\s+""" + _FROM, 'import %(import)s from "%(url)s";'),
    (r"""(?P<matched>export\s+(?P<export>[^'";]+?)\s+from\s+""" + _FROM, 'export %(export)s from "%(url)s";'),
)
_MODULES = tuple((folder, _MODULE_PATTERNS) for folder in ("js/*.js", "vendor/novnc/*.js"))

# Of the packages in package-lock.json, what pages load: served folder, the package's folder, its files.
LIBRARIES = (
    ("vendor/novnc/core", "@novnc/novnc/core", "*.js"),
    ("vendor/novnc/vendor/pako", "@novnc/novnc/vendor/pako", "*.js"),
    ("vendor/xterm", "@xterm/xterm/lib", "xterm.mjs"),
    ("vendor/xterm", "@xterm/xterm/css", "xterm.css"),
    ("vendor/xterm", "@xterm/addon-fit/lib", "addon-fit.mjs"),
    ("vendor/xterm", "@xterm/addon-search/lib", "addon-search.mjs"),
    ("vendor/uplot", "uplot/dist", "uPlot.esm.js"),
    ("vendor/uplot", "uplot/dist", "uPlot.min.css"),
)


class ManifestStorage(CompressedManifestStaticFilesStorage):
    """WhiteNoise's storage that answers with the plain name while nothing was collected (tests, type checks)."""

    patterns = (*CompressedManifestStaticFilesStorage.patterns, *_MODULES)

    def stored_name(self, name: str) -> str:
        """The name under which `name` is served. Raises ValueError for a file that was not collected."""
        return super().stored_name(name) if self.hashed_files else name


class LibraryFinder(BaseFinder):
    """Finds the files of LIBRARIES where npm put them (settings.NODE_MODULES)."""

    def find(self, path: str, find_all: bool = False, **_kwargs: Any) -> Any:
        """Where the file served as `path` is; with `find_all` a list of that. An empty list where it is nowhere."""
        found = [storage.path(name) for name, storage in self.list(()) if name == path]
        return found if find_all or not found else found[0]

    def list(self, ignore_patterns: Iterable[str] | None) -> Iterator[tuple[str, Any]]:
        """Each file with its storage. Raises ImproperlyConfigured where a package was not installed."""
        ignored = tuple(ignore_patterns or ())
        for served, source, pattern in LIBRARIES:
            folder = settings.NODE_MODULES / source
            names = sorted(f"{served}/{path.relative_to(folder)}" for path in folder.rglob(pattern))
            if not names:
                raise ImproperlyConfigured(
                    f"{source}/{pattern} is not in {settings.NODE_MODULES}: ./portal up installs it by npm."
                )
            storage = _Library(folder, served)
            yield from ((name, storage) for name in names if not any(fnmatch(name, each) for each in ignored))


class _Library(FileSystemStorage):
    """A package's folder under the names by which it is served: the patterns above are matched against those."""

    def __init__(self, folder: Path, served: str) -> None:
        super().__init__(location=folder)
        self._served = served

    def path(self, name: str) -> str:
        """Where the file served as `name` is."""
        return super().path(name.removeprefix(f"{self._served}/"))
