"""How static files are stored: named by their content, compressed, cached for ever by browsers."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ManifestStorage(CompressedManifestStaticFilesStorage):
    """WhiteNoise's storage that answers with the plain name while nothing was collected (tests, type checks)."""

    def stored_name(self, name: str) -> str:
        """The name under which `name` is served. Raises ValueError for a file that was not collected."""
        return super().stored_name(name) if self.hashed_files else name
