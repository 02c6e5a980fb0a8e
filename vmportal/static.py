"""How static files are stored: named by their content, compressed, cached for ever by browsers."""

from whitenoise.storage import CompressedManifestStaticFilesStorage

# In our own modules `import ... from "./page.js";` names the stored name too, or browsers would keep an old module.
# Django can do so for every file, which fails on packages whose modules expect a bundler.
_IMPORT = r"""(?P<matched>import\s+(?P<import>[^'";]+?)\s+from\s+["'](?P<url>\./[^"']+)["']\s*;)"""
_OWN_MODULES = ("js/*.js", ((_IMPORT, 'import %(import)s from "%(url)s";'),))


class ManifestStorage(CompressedManifestStaticFilesStorage):
    """WhiteNoise's storage that answers with the plain name while nothing was collected (tests, type checks)."""

    patterns = (*CompressedManifestStaticFilesStorage.patterns, _OWN_MODULES)

    def stored_name(self, name: str) -> str:
        """The name under which `name` is served. Raises ValueError for a file that was not collected."""
        return super().stored_name(name) if self.hashed_files else name
