"""`manage.py seal_audit`: seal the audit trail now, without waiting for beat."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases.services.seals import audit_seal


class Command(BaseCommand):
    help = (
        "Seal all audit events that are not sealed yet, as beat does each minute. Exit code: "
        "0 done, 1 where a transaction that writes events does not come to its end."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--seconds", type=float, default=30, help="how long to wait for writers (default 30)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        done = audit_seal(seconds=None, patience_s=options["seconds"], wait=True)
        self.stdout.write(f"sealed {done.events} events in {done.seals} seals")
        if not done.done:
            raise CommandError("a transaction that writes events is not at its end: try again")
