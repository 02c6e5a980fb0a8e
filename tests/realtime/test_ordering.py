"""The browser's side of the order, in a browser: static/js/ordering.js, loaded as the page loads it."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Page, Route, sync_playwright

from tests.conftest import CHECKOUT
from tests.e2e.conftest import CHROMIUM, CHROMIUM_ARGUMENTS

ORIGIN = "http://modules.test"

few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def modules() -> Iterator[Page]:
    """An empty page that has the modules; nothing leaves the browser."""

    def serve(route: Route) -> None:
        name = route.request.url.removeprefix(ORIGIN)
        if name.endswith(".js"):
            route.fulfill(path=CHECKOUT / "static" / "js" / name.strip("/"), content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html>", content_type="text/html")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_ARGUMENTS)
        page = browser.new_page()
        page.route("**/*", serve)
        page.goto(ORIGIN)
        page.evaluate("async () => Object.assign(window, await import('/ordering.js'))")
        yield page
        browser.close()


OFFER_ALL = """([start, numbers]) => {
    const ordering = new Ordering(start);
    const applied = numbers.map((number) => ordering.offer({ number }).map((event) => event.number));
    return { applied, number: ordering.number, behind: ordering.behind };
}"""


@few
@given(numbers=st.permutations(range(6, 16)), again=st.lists(st.integers(1, 15), max_size=10))
def test_however_events_arrive_each_is_applied_once_and_in_order(
    modules: Page, numbers: list[int], again: list[int]
) -> None:
    result = modules.evaluate(OFFER_ALL, [5, [*numbers, *again]])
    applied = [number for batch in result["applied"] for number in batch]
    assert applied == list(range(6, 16))
    assert (result["number"], result["behind"]) == (15, False)


@few
@given(numbers=st.permutations(range(1, 13)), lost=st.sets(st.integers(1, 12), min_size=1))
def test_nothing_beyond_a_gap_is_applied_before_the_gap_is_filled(
    modules: Page, numbers: list[int], lost: set[int]
) -> None:
    came = [number for number in numbers if number not in lost]
    before = modules.evaluate(OFFER_ALL, [0, came])
    assert before["number"] == min(lost) - 1
    assert before["behind"] == (max([0, *came]) >= min(lost))
    filled = modules.evaluate(OFFER_ALL, [0, [*came, *sorted(lost)]])
    assert filled["number"] == 12


def test_a_heartbeat_tells_that_something_is_missing(modules: Page) -> None:
    assert modules.evaluate(
        "() => { const o = new Ordering(4); o.heard(3); const a = o.behind; o.heard(5); return [a, o.behind, o.number]}"
    ) == [False, True, 4]


@few
@given(came=st.lists(st.integers(1, 20), max_size=15), snapshot=st.integers(0, 20))
def test_a_snapshot_takes_the_place_of_all_it_contains(modules: Page, came: list[int], snapshot: int) -> None:
    result = modules.evaluate(
        """([numbers, snapshot]) => {
            const ordering = new Ordering(0);
            for (const number of numbers) ordering.offer({ number });
            const before = ordering.number;
            const released = ordering.skipTo(snapshot).map((event) => event.number);
            return { before, released, number: ordering.number };
        }""",
        [came, snapshot],
    )
    at = max(result["before"], snapshot)
    expected: list[int] = []
    while at + len(expected) + 1 in came:
        expected.append(at + len(expected) + 1)
    assert result["released"] == expected
    assert result["number"] == at + len(expected)


def test_what_is_older_than_what_is_known_teaches_nothing(modules: Page) -> None:
    result = modules.evaluate(
        """() => {
            const known = new KnownVMs();
            const vm = (state, id = null, progress = 0) => ({ state, operation: id && { id, progress }, allowed: [] });
            return [
                known.learn("a", 5, vm("RUNNING")),
                known.learn("a", 4, vm("STAGING")),
                known.learn("a", 5, vm("STAGING")),
                known.learn("a", 6, vm("RUNNING", "op", 10)),
                known.learn("a", 7, vm("RUNNING", "op", 20)),
                known.learn("a", 8, { ...vm("RUNNING", "op", 20), silent: true }),
                known.learn("a", 9, vm("STOPPING", "op", 20)),
                known.learn("a", 10, null),
                known.learn("a", 8, vm("RUNNING")),
                known.get("a"),
            ];
        }"""
    )
    assert [r and (r["appeared"], r["gone"], r["minor"]) for r in result[:-1]] == [
        (True, False, False),
        None,
        None,
        (False, False, False),
        (False, False, True),
        (False, False, False),
        (False, False, False),
        (False, True, False),
        None,
    ]
    assert result[-1] == {"number": 10, "payload": None}


def test_pauses_grow_to_fifteen_seconds_and_differ_by_chance(modules: Page) -> None:
    longest = modules.evaluate("() => [0, 1, 2, 3, 4, 5, 50].map((attempt) => backoff(attempt, () => 1))")
    assert longest == [500, 1000, 2000, 4000, 8000, 15000, 15000]
    assert modules.evaluate("() => backoff(3, () => 0)") == 2000
