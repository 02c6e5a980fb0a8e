"""`manage.py create_token --user U --project P`: an access token for a program, printed once to standard output."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from lifecycle.domain.errors import DomainError
from lifecycle.models import Project, User
from lifecycle.services import tokens


class Command(BaseCommand):
    """The secret goes to standard output and nowhere else; what is said about it goes to standard error."""

    help = "Make an access token for the API; its secret is printed once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", required=True, help="whom it acts for, by user name")
        parser.add_argument("--project", required=True, action="append", help="what it opens; may be given again")
        parser.add_argument("--name", default="command line", help="what it is called in the portal")
        parser.add_argument("--days", type=int, default=90, help="how long it lives (1 to 366)")
        parser.add_argument("--read-only", action="store_true", help="it changes nothing")

    def handle(self, *_args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"], is_active=True).first()
        if user is None:
            raise CommandError(f"There is no active user {options['user']}.")
        projects = [_project(user, slug) for slug in options["project"]]
        try:
            token, secret = tokens.create(
                user, options["name"], projects, may_write=not options["read_only"], days=options["days"]
            )
        except DomainError as error:
            raise CommandError(error.text) from error
        self.stdout.write(secret)
        self.stderr.write(f"Shown only now. It expires {token.expires_at:%Y-%m-%d %H:%M %Z}.")


def _project(user: User, slug: str) -> Project:
    found = Project.objects.visible_to(user).filter(slug=slug).first()
    if found is None:
        raise CommandError(f"{user} is not a member of a project {slug}.")
    return found
