"""`manage.py create_site CODE NAME`: a hospital or practice."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases.access import Actor, ActorKind
from cases.errors import UserFacingError
from cases.management.sentences import sentence
from cases.services.people import site_create


class Command(BaseCommand):
    help = "Add a site."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("code", help="short code, for example north")
        parser.add_argument("name")
        parser.add_argument(
            "--patient-issuer", default="", help="issuer of its patient ids (default: the code)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            site = site_create(
                actor=Actor(kind=ActorKind.COMMAND, label="manage.py create_site"),
                code=options["code"],
                name=options["name"],
                patient_issuer=options["patient_issuer"],
            )
        except UserFacingError as error:
            raise CommandError(sentence(error), returncode=2) from error
        self.stdout.write(f"created {site.code}")
