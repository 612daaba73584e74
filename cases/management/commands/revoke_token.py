"""`manage.py revoke_token PREFIX`: make a bearer token useless."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases.access import Actor, ActorKind
from cases.errors import UserFacingError
from cases.management.sentences import sentence
from cases.selectors.people import token_by_prefix
from cases.services.people import token_revoke


class Command(BaseCommand):
    help = "Revoke a token, named by its first characters (at least 8) or by its id."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("token", help="first characters of the secret, as in bcw_AbCd12, or id")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            token = token_by_prefix(prefix=options["token"])
            token_revoke(
                actor=Actor(kind=ActorKind.COMMAND, label="manage.py revoke_token"),
                token_id=token.pk,
            )
        except UserFacingError as error:
            raise CommandError(sentence(error), returncode=2) from error
        self.stdout.write(f"revoked {token}")
