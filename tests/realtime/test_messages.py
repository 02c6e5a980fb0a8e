"""The small parts: what was sent, what a browser may say, which origins are ours."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.realtime import inbox
from lifecycle.realtime.cursor import Cursor
from lifecycle.realtime.inbox import Allowance, Malformed, since_number
from lifecycle.realtime.origins import normal


@given(st.permutations(range(11, 31)))
def test_a_cursor_closes_gaps_in_any_order(numbers: list[int]) -> None:
    cursor = Cursor(10)
    for sent in range(len(numbers)):
        cursor.add(numbers[sent])
        assert all(cursor.has(number) for number in numbers[: sent + 1])
        assert not any(cursor.has(number) for number in numbers[sent + 1 :])
    assert cursor.number == 30


def test_a_cursor_that_skips_keeps_what_is_beyond() -> None:
    cursor = Cursor(0)
    for number in (3, 7, 9):
        cursor.add(number)
    cursor.skip_to(6)
    assert cursor.number == 7
    assert cursor.has(9)
    assert not cursor.has(8)
    cursor.skip_to(2)
    assert cursor.number == 7


@pytest.mark.parametrize("number", [0, 1, inbox.NUMBER_MAX])
def test_since_with_a_number_is_understood(number: int) -> None:
    assert since_number(json.dumps({"type": "since", "number": number})) == number


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "binary"),
        ("", "not_json"),
        ("{", "not_json"),
        ("[" * 1000, "not_json"),
        ('{"type":"since","number":' + "9" * 2000 + "}", "too_long"),
        ("[]", "unknown_type"),
        ('"since"', "unknown_type"),
        ("null", "unknown_type"),
        ("{}", "unknown_type"),
        ('{"type":["since"],"number":1}', "unknown_type"),
        ('{"type":"project.event","number":1}', "unknown_type"),
        ('{"type":"since"}', "bad_number"),
        ('{"type":"since","number":null}', "bad_number"),
        ('{"type":"since","number":true}', "bad_number"),
        ('{"type":"since","number":"1"}', "bad_number"),
        ('{"type":"since","number":1.0}', "bad_number"),
        ('{"type":"since","number":-1}', "bad_number"),
        ('{"type":"since","number":1e999}', "bad_number"),
        ('{"type":"since","number":NaN}', "bad_number"),
        (f'{{"type":"since","number":{2**63}}}', "bad_number"),
    ],
)
def test_everything_else_is_called_by_what_is_wrong_with_it(text: str | None, code: str) -> None:
    with pytest.raises(Malformed) as caught:
        since_number(text)
    assert caught.value.code == code


@given(st.text(max_size=1100))
def test_no_text_breaks_the_inbox(text: str) -> None:
    with pytest.raises(Malformed):
        since_number(text)


def test_an_allowance_runs_out_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("lifecycle.realtime.inbox.time.monotonic", lambda: now)
    allowance = Allowance()
    assert [allowance.take() < 0 for _ in range(21)] == [False] * 20 + [True]
    now += 2
    assert allowance.take() >= 0
    now += 3600
    assert allowance.take() == inbox.BURST - 1


def test_origins_are_compared_by_scheme_host_and_port() -> None:
    assert normal("https://VMs.example.org") == normal("https://vms.example.org:443/")
    assert normal("http://127.0.0.1:8000") != normal("http://127.0.0.1:8001")
    assert normal("http://vms.example.org") != normal("https://vms.example.org")


@pytest.mark.parametrize(
    "origin", ["", "null", "/", "file://", "http://[", "http://a:b", "http://a:99999", "a.example"]
)
def test_what_is_no_origin_equals_none(origin: str) -> None:
    assert normal(origin) is None
