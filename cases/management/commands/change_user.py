"""`manage.py change_user USERNAME`: roles, closing and opening, lock-outs, second factors."""

from __future__ import annotations

import getpass
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases.access import Actor, ActorKind, Role
from cases.errors import UserFacingError
from cases.management.sentences import sentence
from cases.selectors.people import user_by_name
from cases.services.accounts import second_factor_reset
from cases.services.lockout import lock_lift
from cases.services.people import role_grant, user_deactivate, user_reactivate


class Command(BaseCommand):
    help = (
        "Grant a role to a user, close the account (its tokens too), open it again, lift a "
        "lock-out, or take the second factors of somebody away whose phone is lost."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--grant", choices=[role.value for role in Role], help="role to add")
        what.add_argument("--close", action="store_true", help="no sign-in, tokens revoked")
        what.add_argument(
            "--open", action="store_true", help="reads a new password from standard input"
        )
        what.add_argument(
            "--unlock", action="store_true", help="may try to sign in again now, after failures"
        )
        what.add_argument(
            "--reset-second-factor",
            action="store_true",
            help="no authenticator app, passkeys and recovery codes any more; sessions end",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        actor = Actor(kind=ActorKind.COMMAND, label="manage.py change_user")
        try:
            user = user_by_name(username=options["username"])
            if options["grant"]:
                role_grant(actor=actor, user=user, role=Role(options["grant"]))
            elif options["close"]:
                user_deactivate(actor=actor, user=user)
            elif options["unlock"]:
                lock_lift(actor=actor, user=user)
            elif options["reset_second_factor"]:
                second_factor_reset(actor=actor, user=user)
            else:
                user_reactivate(actor=actor, user=user, password=read_password())
        except UserFacingError as error:
            raise CommandError(sentence(error), returncode=2) from error
        self.stdout.write(f"changed {user.get_username()}")


def read_password() -> str:
    """Asked for at a terminal, else the first line of standard input."""
    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline().rstrip("\n")
