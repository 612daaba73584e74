"""`manage.py create_token USERNAME`: a bearer token for a system."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases.access import Actor, ActorKind, Scope
from cases.errors import UserFacingError
from cases.management.sentences import sentence
from cases.selectors.people import user_by_name
from cases.services.people import token_create


class Command(BaseCommand):
    help = "Make a bearer token and print it once. Only its hash is stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username", help="the user whose rights the token may use")
        parser.add_argument("--name", default="api", help="the system that will carry it")
        parser.add_argument(
            "--scopes",
            default="submit,read",
            help="comma-separated, of: " + ", ".join(scope.value for scope in Scope),
        )
        parser.add_argument("--days", type=int, default=90, help="life in days (default 90)")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            scopes = [Scope(part.strip()) for part in options["scopes"].split(",") if part.strip()]
        except ValueError as error:
            known = ", ".join(scope.value for scope in Scope)
            raise CommandError(f"{error}; scopes are {known}", returncode=2) from error
        actor = Actor(kind=ActorKind.COMMAND, label="manage.py create_token")
        try:
            user = user_by_name(username=options["username"])
            _, secret = token_create(
                actor=actor, user=user, name=options["name"], scopes=scopes, days=options["days"]
            )
        except UserFacingError as error:
            raise CommandError(sentence(error), returncode=2) from error
        self.stdout.write(secret)
