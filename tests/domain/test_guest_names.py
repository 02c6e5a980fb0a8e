"""Names of VMs: what is taken, what is refused, and that the refusal says why."""

import re
from contextlib import nullcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain.errors import InvalidInput
from lifecycle.domain.guests import check_name


@pytest.mark.parametrize("name", ["a", "web-1", "x" * 63, "a1", "a-b-c", "z9"])
def test_a_good_name_is_taken_as_it_is(name: str) -> None:
    assert check_name(name) == name


BAD = {
    "a capital": "Web",
    "a digit first": "1web",
    "a hyphen first": "-web",
    "a hyphen last": "web-",
    "a space": "web 1",
    "a line break": "web\n",
    "a trailing space": "web ",
    "a NUL": "web\0",
    "an underscore": "web_1",
    "a dot": "web.example",
    "XML": "<name/>",
    "an XML entity": "a&amp;b",
    "a CDATA end": "a]]>b",
    "an apostrophe": "o'hara",
    "a quote": 'a"b',
    "a shell substitution": "$(reboot)",
    "a backtick": "`id`",
    "a semicolon": "a;reboot",
    "a pipe": "a|b",
    "a path": "../../etc/passwd",
    "a slash": "a/b",
    "a backslash": "a\\b",
    "a percent sign": "a%s",
    "a comma": "a,readonly=on",
    "an umlaut": "größe",
    "Cyrillic that looks Latin": "wеb",
    "Arabic digits": "web-١",
    "a full-width letter": "\uff57eb",
    "an emoji": "web🚀",
    "a right-to-left override": "web\u202e",
    "a combining accent": "we\u0301b",
}


@pytest.mark.parametrize("name", BAD.values(), ids=BAD.keys())
def test_a_bad_name_is_refused_with_what_a_good_one_is(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        check_name(name)
    assert refused.value.field == "name"
    assert "For example: web-1" in refused.value.text


def test_an_empty_name_is_asked_for() -> None:
    with pytest.raises(InvalidInput, match=r"Give the VM a name\.") as refused:
        check_name("")
    assert refused.value.field == "name"


@pytest.mark.parametrize("length", [64, 1000, 10_000_000])
def test_a_name_that_is_too_long_is_refused_with_its_length(length: int) -> None:
    with pytest.raises(InvalidInput, match=f"has {length} characters; at most 63"):
        check_name("a" * length)


@given(st.text(max_size=80))
def test_a_name_is_a_host_name_or_it_is_refused(name: str) -> None:
    host_name = re.fullmatch(r"[a-z][a-z0-9-]{0,62}(?<!-)", name, re.ASCII)
    with nullcontext() if host_name else pytest.raises(InvalidInput):
        assert check_name(name) == name


def test_a_name_that_is_an_address_of_the_portal_is_refused() -> None:
    with pytest.raises(InvalidInput, match="own addresses"):
        check_name("new")
