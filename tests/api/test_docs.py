"""The endpoint table says something about every method, and about none that is not there."""

import re

from lifecycle.api import methods, registry
from tests.conftest import CHECKOUT


def test_the_table_names_every_method_and_no_other() -> None:
    methods.load()
    text = (CHECKOUT / "docs" / "api.md").read_text()
    methods_alone = text.partition("\n## Being told")[0]  # a table there names events
    rows = [line.split("|")[1] for line in methods_alone.splitlines() if line.startswith("| ")]
    named = set(re.findall(r"\b[a-z][A-Za-z]+\.[a-z][A-Za-z]+\b", " ".join(rows)))
    assert named == set(registry.METHODS)
