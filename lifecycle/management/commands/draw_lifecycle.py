"""`manage.py draw_lifecycle`: writes docs/lifecycle.md, the diagram and the tables, from the one table of the code."""

from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from lifecycle.domain import states
from lifecycle.domain.states import State
from lifecycle.domain.transitions import INITIAL, TABLE, Action, Asker, Rule

TARGET = Path(__file__).resolve().parents[3] / "docs" / "lifecycle.md"

HEAD = """\
# The lifecycle of a VM

Written by `./portal manage draw_lifecycle` from `lifecycle/domain/transitions.py`, the one place where the lifecycle is
declared; a test compares the two. Change the code and draw again.

## The diagram

An arrow names the actions that make it; "fails" marks where a failure leads. The states in bold are those a VM rests
in; the dots are before its first record and after its last one.
"""

#: The columns of the table of states: title, group.
GROUPS = (
    ("Stable", states.STABLE),
    ("Holds vCPU and memory", states.HOLDS_COMPUTE),
    ("vCPU billed", states.VCPU_BILLED),
    ("Memory billed", states.MEMORY_BILLED),
    ("Disks and addresses billed", states.STORAGE_BILLED),
    ("In the SLA", states.IN_SLA),
)


class Command(BaseCommand):
    """Draws the lifecycle, or says that the drawing is out of date."""

    help = "Write docs/lifecycle.md from the transition table."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """`--check` compares and writes nothing."""
        parser.add_argument("--check", action="store_true", help="fail when the file is out of date")
        parser.add_argument("--output", type=Path, default=TARGET, help="the file to write")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Raises CommandError when `--check` finds a difference."""
        target: Path = options["output"]
        drawn = document()
        current = target.read_text(encoding="utf-8") if target.exists() else None
        if current == drawn:
            self.stdout.write(f"{target.name} is up to date.")
            return
        if options["check"]:
            raise CommandError(f"{target.name} is out of date: run manage.py draw_lifecycle")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(drawn, encoding="utf-8")
        self.stdout.write(f"{target.name} was written.")


def document() -> str:
    """The whole page."""
    parts = (HEAD, diagram(), "## Actions\n", table_of_actions(), "## States\n", table_of_states())
    return "\n".join(parts)


def diagram() -> str:
    """All pairs as a Mermaid state diagram; one arrow a pair, labelled with its actions."""
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR"]
    for (source, target), labels in sorted(arrows().items()):
        lines.append(f"    {source} --> {target}: {', '.join(labels)}")
    lines += [*(f"    class {state} stable" for state in sorted(states.STABLE)), "    classDef stable font-weight:bold"]
    return "\n".join([*lines, "```", ""])


def arrows() -> dict[tuple[str, str], list[str]]:
    """Each pair with the words on its arrow."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for action, rule in TABLE.items():
        name = _words(action)
        succeeding = replace(rule, on_failure=frozenset()).pairs()
        for source, target in rule.pairs():
            label = name if (source, target) in succeeding else f"{name} fails"
            found[source.value, target.value].append(label)
        if not rule.sources:
            for state in {INITIAL} if rule.through else rule.targets:
                found["[*]", state.value].append(name)
    found[State.STOPPING.value, "[*]"].append(_words(Action.DELETE))
    for state in TABLE[Action.CREATE].through:
        found[state.value, "[*]"].append(f"{_words(Action.CREATE)} fails")
    return found


def table_of_actions() -> str:
    """One row an action."""
    header = ("Action", "From", "Through", "To", "When it fails", "Asked by", "Takes over")
    return _table(header, (_row(rule) for rule in TABLE.values()))


def _row(rule: Rule) -> tuple[str, ...]:
    return (
        _words(rule.action),
        _among(rule.sources, State),
        ", ".join(rule.through) or "–",
        _target(rule),
        _failure(rule),
        ", ".join(sorted(rule.asked_by)),
        ", ".join(_words(action) for action in Action if action in rule.preempts) or "–",
    )


def _target(rule: Rule) -> str:
    if rule.targets:
        return _among(rule.targets, State)
    return "gone" if rule.action is Action.DELETE else "the same state"


def _failure(rule: Rule) -> str:
    if rule.on_failure:
        return _among(rule.on_failure, State)
    if rule.action is Action.CREATE:
        return "gone"
    return "retried" if rule.through and rule.asked_by != {Asker.GUEST} else "–"


def table_of_states() -> str:
    """One row a state, one column a group."""
    rows = ((state.value, *("yes" if state in group else "–" for _title, group in GROUPS)) for state in State)
    return _table(("State", *(title for title, _group in GROUPS)), rows)


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _cell in header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def _among(found: Iterable[State], order: Iterable[State]) -> str:
    """States in the order of their declaration."""
    wanted = set(found)
    return ", ".join(state for state in order if state in wanted) or "–"


def _words(action: Action) -> str:
    return action.value.replace("_", " ")
