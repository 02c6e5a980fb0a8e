"""The drawn lifecycle shows the table, and the page in docs is up to date."""

from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from lifecycle.domain.states import State
from lifecycle.domain.transitions import ALL_PAIRS, Action
from lifecycle.management.commands import draw_lifecycle


def test_the_page_in_docs_is_up_to_date() -> None:
    call_command("draw_lifecycle", "--check", stdout=StringIO())


def test_a_page_that_is_out_of_date_fails_the_check_and_stays(tmp_path: Path) -> None:
    page = tmp_path / "lifecycle.md"
    page.write_text("old")
    with pytest.raises(CommandError, match="out of date"):
        call_command("draw_lifecycle", "--check", "--output", page, stdout=StringIO())
    assert page.read_text() == "old"


def test_a_missing_page_is_written(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "lifecycle.md"
    call_command("draw_lifecycle", "--output", page, stdout=StringIO())
    assert page.read_text() == draw_lifecycle.document()


def test_every_pair_of_the_table_is_an_arrow() -> None:
    drawn = {pair for pair in draw_lifecycle.arrows() if "[*]" not in pair}
    assert drawn == {(source.value, target.value) for source, target in ALL_PAIRS}


def test_births_and_deaths_are_drawn() -> None:
    arrows = draw_lifecycle.arrows()
    assert arrows["[*]", "PROVISIONING"] == ["create"]
    assert arrows["[*]", "RUNNING"] == ["adopt"]
    assert arrows["STOPPING", "[*]"] == ["delete"]
    assert arrows["STAGING", "[*]"] == ["create fails"]


def test_a_failure_is_told_apart_on_its_arrow() -> None:
    arrows = draw_lifecycle.arrows()
    assert "start fails" in arrows["STAGING", "TERMINATED"]
    assert "start" in arrows["STAGING", "RUNNING"]


def test_the_tables_have_a_row_for_each_action_and_state() -> None:
    actions, states = draw_lifecycle.table_of_actions(), draw_lifecycle.table_of_states()
    assert [line.split("|")[1].strip() for line in actions.splitlines()[2:]] == [a.replace("_", " ") for a in Action]
    assert [line.split("|")[1].strip() for line in states.splitlines()[2:]] == list(State)
