"""The containers: every process of the product gets the settings, and what they need is in the example."""

import re
from typing import Any

import yaml

from tests.conftest import CHECKOUT

TEXT = (CHECKOUT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}


def test_every_process_of_the_product_is_there_and_gets_every_setting_of_env() -> None:
    assert set(OURS) == {"setup", "web", "gateway", "worker", "beat", "watcher"}
    for service in OURS.values():
        assert service["env_file"] == [".env"]


def test_what_the_containers_ask_for_stands_in_the_example() -> None:
    named = set(re.findall(r"^([A-Z_]+)=", (CHECKOUT / ".env.example").read_text(), re.M))
    assert set(re.findall(r"\$\{([A-Z_]+):\?", TEXT)) <= named


def test_what_runs_for_long_is_looked_at_and_started_again() -> None:
    for name, service in SERVICES.items():
        if name != "setup":
            assert service["healthcheck"]["test"], name
            assert service["restart"] == "unless-stopped", name
