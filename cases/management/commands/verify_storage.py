"""`manage.py verify_storage`: missing, altered, half-written and orphaned bytes."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases.access import Actor, ActorKind
from cases.errors import UserFacingError
from cases.services.verification import (
    FaultKind,
    Looked,
    StorageFault,
    orphan_delete,
    storage_faults,
)

ACTOR = Actor(kind=ActorKind.COMMAND, label="manage.py verify_storage")


class Command(BaseCommand):
    help = (
        "Compare all stored bytes with the rows that need them, and read them again. Prints one "
        "line per fault: its kind (missing, altered, cut, orphan), the row, the name in the "
        "storage. Exit code: 0 whole, 1 faults, 2 bad usage. The service may run meanwhile."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")
        parser.add_argument(
            "--sample",
            type=float,
            default=100.0,
            metavar="PERCENT",
            help="read again only this share of the objects, chosen at random (default 100); "
            "names and sizes are compared for all",
        )
        parser.add_argument(
            "--limit", type=int, metavar="N", help="read again at most so many objects"
        )
        parser.add_argument(
            "--delete-orphans", action="store_true", help="remove what no row needs"
        )
        parser.add_argument(
            "--older-than",
            type=float,
            default=24.0,
            metavar="HOURS",
            help="with --delete-orphans: only what is at least so old (default 24, at least 1)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        _check(options)
        looked, deleted = Looked(), 0
        counts = dict.fromkeys(FaultKind, 0)
        try:
            with _report(options["json"]) as note, _progress(looked) as show:
                for fault in storage_faults(looked=looked, chosen=_chooser(options, show)):
                    gone = self._deleted(fault, options)
                    deleted += gone
                    counts[fault.kind] += not gone
                    if not gone:
                        self.stdout.write(fault.line)
                        note(fault)
                whole = not any(counts.values())
                note(
                    {
                        "whole": whole,
                        **asdict(looked),
                        "deleted": deleted,
                        "counts": {kind.value: n for kind, n in counts.items()},
                    }
                )
        except UserFacingError as error:
            raise CommandError(error.detail) from error
        except OSError as error:
            raise CommandError(f"the report cannot be written: {error}", returncode=2) from error
        told = (
            f"{looked.objects} objects, {looked.rows} rows, {looked.read} read again "
            f"({looked.read_bytes / 1e6:.1f} MB), {looked.in_progress} in progress"
            + f", {deleted} orphans deleted"
            * bool(options["delete_orphans"])
        )
        if not whole:
            kinds = ", ".join(f"{n} {kind.value}" for kind, n in counts.items() if n)
            raise CommandError(f"verify_storage: {kinds} ({told})")
        self.stdout.write(f"verify_storage: ok ({told})")

    def _deleted(self, fault: StorageFault, options: dict[str, Any]) -> bool:
        if fault.kind is not FaultKind.ORPHAN or not options["delete_orphans"]:
            return False
        age = timedelta(hours=options["older_than"])
        return orphan_delete(actor=ACTOR, name=fault.name, older_than=age)


def _check(options: dict[str, Any]) -> None:
    if not 0 < options["sample"] <= 100:
        raise CommandError("--sample is a percentage above 0, at most 100", returncode=2)
    if options["limit"] is not None and options["limit"] < 0:
        raise CommandError("--limit must not be negative", returncode=2)
    if not 1 <= options["older_than"] <= 24 * 3650:
        raise CommandError("--older-than must be at least 1 hour", returncode=2)
    folder = options["json"].parent if options["json"] else Path()
    if not folder.is_dir():
        raise CommandError(f"there is no folder {folder}", returncode=2)


def _chooser(options: dict[str, Any], show: Callable[[], None]) -> Callable[[Looked], bool]:
    """Whether the next object is read again."""
    share: int = round(options["sample"] * 10_000)
    limit: int | None = options["limit"]

    def chosen(looked: Looked) -> bool:
        show()
        if limit is not None and looked.read >= limit:
            return False
        return secrets.randbelow(1_000_000) < share

    return chosen


@contextmanager
def _progress(looked: Looked) -> Iterator[Callable[[], None]]:
    """A line on the terminal that tells how far it is; nothing where stderr is none."""
    if not sys.stderr.isatty():
        yield lambda: None
        return

    def show() -> None:
        if looked.objects % 50 == 1:
            told = f"{looked.objects} objects, {looked.read_bytes / 1e6:.0f} MB read again"
            sys.stderr.write(f"\r\x1b[K{told}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        sys.stderr.write("\r\x1b[K")


@contextmanager
def _report(path: Path | None) -> Iterator[Callable[[StorageFault | dict[str, Any]], None]]:
    """Write faults as they come, then the counts; the file appears whole or not at all."""
    if path is None:
        yield lambda _: None
        return
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with open(draft, "x", encoding="utf-8") as file:
            file.write('{"faults": [')
            first = True

            def note(item: StorageFault | dict[str, Any]) -> None:
                nonlocal first
                if isinstance(item, StorageFault):
                    file.write(("\n" if first else ",\n") + json.dumps(asdict(item)))
                    first = False
                else:
                    file.write("\n], " + json.dumps(item)[1:] + "\n")

            yield note
        draft.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            draft.unlink()
        raise
