"""The check of migrations: what would break the processes of the version before is found."""

from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import migrations, models
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from lifecycle.management.commands import check_migrations
from lifecycle.management.commands.check_migrations import problems

VM = "vm"


@pytest.fixture(scope="module")
def before() -> ProjectState:
    """The models as they are now."""
    return MigrationLoader(None).project_state()


def made_of(*operations: Any, **attributes: Any) -> Migration:
    kind = type("Migration", (Migration,), {"operations": list(operations), **attributes})
    migration: Migration = kind("9999_test", "lifecycle")
    return migration


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (migrations.RemoveField(VM, "name"), "removes vm.name"),
        (migrations.DeleteModel("Reservation"), "deletes Reservation"),
        (migrations.RenameField(VM, "name", "title"), "renames vm.name"),
        (migrations.RenameModel("VM", "Machine"), "renames VM"),
        (migrations.AlterModelTable("VM", "machines"), "renames the table"),
        (
            migrations.AddField(VM, "colour", models.CharField(max_length=9, default="red")),
            "without null or db_default",
        ),
        (migrations.AlterField(VM, "lost_at", models.DateTimeField()), "becomes NOT NULL"),
        (migrations.AlterField(VM, "name", models.CharField(max_length=20)), "becomes shorter"),
        (migrations.AlterField(VM, "name", models.CharField(max_length=63, unique=True)), "becomes unique"),
        (migrations.AlterField(VM, "name", models.IntegerField()), "changes its type"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else value.replace(" ", "-"),
)
def test_what_the_version_before_would_not_survive_is_found(before: ProjectState, operation: Any, words: str) -> None:
    [found] = problems(made_of(operation), before)
    assert words in found


@pytest.mark.parametrize(
    "operation",
    [
        migrations.AddField(VM, "colour", models.CharField(max_length=9, null=True)),
        migrations.AddField(VM, "colour", models.CharField(max_length=9, default="red", db_default="red")),
        migrations.AlterField(VM, "name", models.CharField(max_length=100)),
        migrations.AlterField(VM, "name", models.CharField(max_length=63, null=True)),
        migrations.AddIndex(VM, models.Index(fields=["name"], name="by_name")),
        migrations.RunPython(migrations.RunPython.noop),
    ],
)
def test_what_it_survives_is_let_through(before: ProjectState, operation: Any) -> None:
    assert list(problems(made_of(operation), before)) == []


def test_a_new_table_may_be_anything(before: ProjectState) -> None:
    new = migrations.CreateModel("Colour", [("id", models.BigAutoField(primary_key=True))])
    column = migrations.AddField("colour", "name", models.CharField(max_length=9))
    assert list(problems(made_of(new, column), before)) == []


def test_all_our_migrations_pass() -> None:
    out = StringIO()
    call_command("check_migrations", stdout=out)
    assert "can be applied while the version before runs" in out.getvalue()


@pytest.mark.parametrize(
    ("explanation", "passes"),
    [
        ("", False),
        ("because", False),
        ("Nothing has read or written it since 1.4; the column was made nullable by 0042.", True),
    ],
)
def test_a_second_step_must_explain_itself(monkeypatch: pytest.MonkeyPatch, explanation: str, passes: bool) -> None:
    loader = MigrationLoader(None)
    leaf = next(key for key in loader.graph.leaf_nodes() if key[0] == "lifecycle")
    unsafe = made_of(migrations.RemoveField(VM, "name"), two_step=explanation)
    monkeypatch.setitem(loader.disk_migrations, leaf, unsafe)
    assert (check_migrations._of(loader, leaf) == []) is passes


def test_the_command_fails_and_says_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_migrations, "_of", lambda _loader, key: ["is wrong"] if key[1] == "0001_initial" else [])
    with pytest.raises(CommandError, match=r"0001_initial: is wrong(?s:.*)docs/migrations\.md"):
        call_command("check_migrations")
