"""`manage.py create_user USERNAME --roles radiologist`: a person or system of a site."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases.access import Actor, ActorKind, Role
from cases.errors import UserFacingError
from cases.management.commands.change_user import read_password
from cases.management.sentences import sentence
from cases.selectors.people import site_by_code
from cases.services.people import user_create


class Command(BaseCommand):
    help = "Add a user. The password is read from standard input or asked for."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--site", default="main", help="code of the site (default main)")
        parser.add_argument(
            "--roles",
            required=True,
            help="comma-separated, of: " + ", ".join(role.value for role in Role),
        )
        parser.add_argument(
            "--no-password", action="store_true", help="cannot sign in; works by tokens only"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            roles = [Role(part.strip()) for part in options["roles"].split(",") if part.strip()]
        except ValueError as error:
            known = ", ".join(role.value for role in Role)
            raise CommandError(f"{error}; roles are {known}", returncode=2) from error
        password = None if options["no_password"] else read_password()
        try:
            user = user_create(
                actor=Actor(kind=ActorKind.COMMAND, label="manage.py create_user"),
                username=options["username"],
                site=site_by_code(code=options["site"]),
                roles=roles,
                password=password,
            )
        except UserFacingError as error:
            raise CommandError(sentence(error), returncode=2) from error
        self.stdout.write(f"created {user.get_username()}")
