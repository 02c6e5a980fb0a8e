"""How static files are stored: named by their content, compressed, cached for ever by browsers."""

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ManifestStorage(CompressedManifestStaticFilesStorage):
    """WhiteNoise's storage that answers with the plain name where nothing was collected (tests, first start)."""

    manifest_strict = False
