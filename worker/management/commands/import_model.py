"""`manage.py import_model FILE`: register a model file as a candidate, without a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases.access import Actor, ActorKind
from cases.errors import StateConflict
from cases.services.learning import model_candidate_register

ACTOR = Actor(kind=ActorKind.COMMAND, label="manage.py import_model")


class Command(BaseCommand):
    help = (
        "Check a model file (.safetensors, its card beside it as .json) and register it as a "
        "candidate. No gate was run on it: it may go into shadow, and live only once a gate has "
        "passed it. Exit code: 0 registered or known already, 1 its name is taken, 2 no sound "
        "model file."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE", help="the .safetensors file")

    def handle(self, *args: Any, **options: Any) -> None:
        # ml.registry loads no torch for this: the web image can do it.
        from ml import registry
        from ml.errors import ModelFileError

        path: Path = options["file"]
        try:
            card, _ = registry.verify_file(path)
            # The registering checks these bytes against the card again: the file may change.
            weights = path.read_bytes()
            model, is_new = model_candidate_register(
                actor=ACTOR, weights=weights, card=card, origin="import"
            )
        except (ModelFileError, OSError, ValueError) as error:
            raise CommandError(f"{path.name}: {error}", returncode=2) from error
        except StateConflict as error:
            raise CommandError(error.detail) from error
        what = "registered" if is_new else "known already:"
        self.stdout.write(f"{what} {model.version} ({model.state}), id {model.pk}")
