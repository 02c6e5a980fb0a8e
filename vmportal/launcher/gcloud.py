"""`./portal gcloud …`: an installed gcloud, pointed at this installation and at nothing else."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from vmportal.launcher.errors import PortalError
from vmportal.launcher.installation import Installation

TOKEN_FILE = "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"  # noqa: S105  # the name of a variable


def gcloud(installation: Installation, words: Sequence[str]) -> int:
    """Run it; its exit status. Raises PortalError without gcloud, or without a token."""
    if shutil.which("gcloud") is None:
        raise PortalError("gcloud is not installed.", "Google's page on the Google Cloud CLI says how.")
    return subprocess.run(["gcloud", *words], env=environment(installation), check=False).returncode


def environment(installation: Installation) -> dict[str, str]:
    """What points gcloud here; a project, a zone and a configuration that the caller chose stay."""
    if not Path(os.environ.get(TOKEN_FILE, "")).is_file():
        raise PortalError(
            f"{TOKEN_FILE} names no file with an access token.",
            "./portal manage create_token --user U --project P > token; then set it to that file.",
        )
    url = installation.recall("address").get("url", "http://127.0.0.1:8000")
    return {
        "CLOUDSDK_CONFIG": str(installation.var / "gcloud"),
        "CLOUDSDK_CORE_PROJECT": "default",
        "CLOUDSDK_COMPUTE_ZONE": "zone-a",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        **os.environ,
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": f"{url}/compute/v1/",
    }
