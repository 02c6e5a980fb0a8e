"""`makemessages` as Django's, which also finds the texts of refusals and of steps.

The domain and the services know no gettext: the first argument of a `DomainError` is its English text and message id.
"""

import subprocess
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandParser
from django.core.management.commands import makemessages

from lifecycle.domain.errors import DomainError


def refusals(base: type[DomainError] = DomainError) -> set[str]:
    """The names of all refusals; their first argument is a text."""
    names = {base.__name__}
    for kind in base.__subclasses__():
        names |= refusals(kind)
    return names


#: Other functions with a text for people, and the argument it is.
TEXTS = ("mark:1", "Again:2", "Skip:1", "wait:2")


class Command(makemessages.Command):
    """Collects into `locale/`, without line numbers (which change with every edit) and without dead entries."""

    xgettext_options = [
        *makemessages.Command.xgettext_options,
        *(f"--keyword={name}:1" for name in sorted(refusals())),
        *(f"--keyword={text}" for text in TEXTS),
    ]

    # A guessed translation is worse than none: what is new is empty until somebody translates it.
    msgmerge_options = [*makemessages.Command.msgmerge_options, "--no-fuzzy-matching"]

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.set_defaults(
            add_location="file", no_obsolete=True, no_wrap=True, ignore_patterns=["var/*", "tests/*", "docs/*"]
        )

    def write_po_file(self, potfile: str, locale: str) -> None:
        """In the language of the source every text translates to itself."""
        super().write_po_file(potfile, locale)
        if locale == settings.LANGUAGE_CODE:
            catalogue = Path(potfile).parent / locale / "LC_MESSAGES" / f"{self.domain}.po"
            argv = ["msgen", "--no-wrap", "--add-location=file", "--output-file", str(catalogue), str(catalogue)]
            subprocess.run(argv, check=True)
