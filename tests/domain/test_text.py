"""Texts that were filled in before they were kept are taken apart again."""

import pytest

from lifecycle.domain.text import FILLED, taken_apart


@pytest.mark.parametrize("template", FILLED)
def test_every_template_is_found_again(template: str) -> None:
    names = [part.split(")")[0] for part in template.split("%(")[1:]]
    values = {name: str(7 + number) for number, name in enumerate(names)}
    assert taken_apart(template % values) == (template, values)


def test_a_quoted_error_stays_whole() -> None:
    assert taken_apart("The start failed: no room; try later") == (
        "The start failed: %(why)s",
        {"why": "no room; try later"},
    )


def test_an_unknown_text_is_none_of_them() -> None:
    assert taken_apart("It was switched off.") is None
