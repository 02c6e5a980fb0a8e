"""The catalogues are complete: every text of the sources has its place in both, translated and not doubtful."""

import gettext
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from django.utils import translation
from django.utils.translation import trans_real
from pytest_django import Settings

from lifecycle import labels
from lifecycle.domain.errors import ActionNotAllowed, QuotaExceeded

CHECKOUT = Path(__file__).resolve().parent.parent.parent
SOURCES = ("lifecycle", "templates", "vmportal")
LANGUAGES = ("en", "fr")

Ids = set[str | tuple[str, int]]


def compiled(catalogue: Path, target: Path) -> Path:
    """The catalogue as a machine reads it; what is untranslated or fuzzy is not in it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["msgfmt", "--check-format", "-o", str(target), str(catalogue)], check=True)
    return target


def ids(machine_file: Path) -> Ids:
    with machine_file.open("rb") as file:
        return set(gettext.GNUTranslations(file)._catalog) - {""}  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Ids:
    """The ids of all texts in the sources, collected anew beside them."""
    place = tmp_path_factory.mktemp("sources")
    (place / "locale").mkdir()
    for name in SOURCES:
        (place / name).symlink_to(CHECKOUT / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr("django.conf.settings.LOCALE_PATHS", [place / "locale"])
        call_command("makemessages", locale=["en"], symlinks=True, verbosity=0)
    return ids(compiled(place / "locale/en/LC_MESSAGES/django.po", place / "all.mo"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(collected: Ids, language: str, tmp_path: Path) -> None:
    catalogue = CHECKOUT / "locale" / language / "LC_MESSAGES" / "django.po"
    missing = collected - ids(compiled(catalogue, tmp_path / "django.mo"))
    assert not missing, f"run ./portal manage makemessages -l en -l fr, and translate: {sorted(map(str, missing))}"


def test_texts_of_refusals_of_all_layers_are_collected(collected: Ids) -> None:
    assert "Give the VM a name." in collected  # domain
    assert "There is no such project." in collected  # services
    assert "waiting for the guest to shut down" in collected  # operations
    assert "The host is busy." in collected  # what drivers raise


@pytest.fixture
def _french(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """French, from catalogues compiled now."""
    compiled(CHECKOUT / "locale/fr/LC_MESSAGES/django.po", tmp_path / "locale/fr/LC_MESSAGES/django.mo")
    settings.LOCALE_PATHS = [tmp_path / "locale"]
    monkeypatch.setattr(trans_real, "_translations", {})
    with translation.override("fr"):
        yield


@pytest.mark.usefixtures("_french")
def test_a_refusal_speaks_french_with_its_names() -> None:
    error = ActionNotAllowed(
        "%(name)s is %(state)s: %(action)s is not possible now. Possible now: %(possible)s.",
        name="web-1",
        state="RUNNING",
        action="start",
        possible="suspend, stop",
    )
    text = labels.refusal_text(error)
    assert "web-1" in text
    assert "EN MARCHE" in text
    assert "suspendre, arrêter" in text


@pytest.mark.usefixtures("_french")
def test_a_metric_of_a_quota_has_a_name() -> None:
    error = QuotaExceeded("The project's quota of %(metric)s is %(limit)s.", metric="memory_mib", limit=1)
    assert "mémoire (Mio)" in labels.refusal_text(error)


@pytest.mark.usefixtures("_french")
def test_a_reason_that_quotes_another_is_translated_whole() -> None:
    told = labels.retold("The start failed: The host's storage is full.")
    assert "démarrage" in told
    assert "stockage" in told
    assert labels.retold("2 vCPUs wanted, 1 free; 512 MiB of memory wanted, 80 free").count("demandés") == 2


@pytest.mark.usefixtures("_french")
def test_a_text_that_nobody_knows_is_shown_as_it_is() -> None:
    assert labels.retold("something else") == "something else"


def test_in_english_a_kept_text_stays_the_same() -> None:
    text = "The start failed: The host's storage is full."
    assert labels.retold(text) == text


@pytest.mark.parametrize(
    ("amount", "english", "french"),
    [(0, "0 B", "0 o"), (1023, "1023 B", "1023 o"), (1536, "1.5 KiB", "1,5 Kio"), (5 * 2**40, "5 TiB", "5 Tio")],
)
def test_sizes_are_said_in_units_of_1024(amount: int, english: str, french: str) -> None:
    assert labels.sized(amount) == english.replace(" ", "\u00a0")
    with translation.override("fr"):
        assert labels.sized(amount) == french.replace(" ", "\u00a0")
