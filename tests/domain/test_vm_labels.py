"""Labels: what they may be, how people write them, and their fingerprint."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.domain import vm_labels
from lifecycle.domain.errors import InvalidInput

KEYS = st.from_regex(r"[a-zé][a-z0-9_-]{0,62}", fullmatch=True)
VALUES = st.from_regex(r"[a-z0-9_-]{0,63}", fullmatch=True)


@pytest.mark.parametrize("labels", [{}, {"env": "prod"}, {"a": ""}, {"über": "日本"}, {"k" * 63: "v" * 63}])
def test_what_compute_engine_allows_is_allowed(labels: dict[str, str]) -> None:
    assert vm_labels.check_labels(labels) == labels


@pytest.mark.parametrize(
    "labels",
    [
        {"": "x"},
        {"Env": "x"},
        {"1st": "x"},
        {"-a": "x"},
        {"a b": "x"},
        {"a.b": "x"},
        {"k" * 64: "x"},
        {"a": "X"},
        {"a": "x y"},
        {"a": "v" * 64},
        {"a": 'x"'},
        {f"k{n}": "" for n in range(65)},
    ],
)
def test_what_it_refuses_is_refused(labels: dict[str, str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        vm_labels.check_labels(labels)
    assert refused.value.field == "labels"


def test_people_write_lines_or_commas() -> None:
    assert vm_labels.parse_labels("env=prod, team = red\n\nalone\n") == {"alone": "", "env": "prod", "team": "red"}


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="env"):
        vm_labels.parse_labels("env=prod\nenv=test")


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_what_is_written_out_is_read_back(labels: dict[str, str]) -> None:
    assert vm_labels.parse_labels(vm_labels.as_text(labels)) == dict(sorted(labels.items()))


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.dictionaries(KEYS, VALUES, max_size=5))
def test_fingerprints_differ_exactly_when_labels_do(one: dict[str, str], other: dict[str, str]) -> None:
    assert (vm_labels.fingerprint(one) == vm_labels.fingerprint(other)) == (one == other)
    assert len(vm_labels.fingerprint(one)) == 12
