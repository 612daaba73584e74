"""`manage.py backup OUT`: database, bytes, keys and folders in one file, while the service runs."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from bcweb import patient_key
from bcweb.backup.archive import DUMP, STATE_PREFIX, BackupError, Writer
from bcweb.backup.dump import Moment, dumped, moment, pg_dump_program
from cases.access import Actor, ActorKind
from cases.services.backups import backup_note
from cases.services.patient_keys import patient_key_id
from cases.storage import uploads

ACTOR = Actor(kind=ActorKind.COMMAND, label="manage.py backup")
FILES = ("secret_key", patient_key.FILE, "demo.json")
FROZEN = "frozen"
# What other parts of the state folder hold is made again, or is of this machine only.
FOLDERS = ("snapshots", FROZEN, "initial")


class Command(BaseCommand):
    help = (
        "Write everything that a new state folder needs into one file (mode 0600): the database "
        "with all uploaded bytes, the keys, the snapshots. The service may run meanwhile: the "
        "file holds one moment. Exit code: 0 done, 1 failed, 2 bad usage."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("out", type=Path, metavar="OUT", help="a new file")
        parser.add_argument(
            "--without-patient-key",
            action="store_true",
            help="leave the patients' key out, to keep a copy of it elsewhere",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        out: Path = options["out"].absolute()
        if out.is_symlink() or out.exists():
            raise CommandError(f"{out} is there already: name a new file", returncode=2)
        if not out.parent.is_dir():
            raise CommandError(f"there is no folder {out.parent}", returncode=2)
        # As Ctrl-C: the draft, which holds everybody's data, does not stay.
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            writer, size, missing = self._write(out, options["without_patient_key"])
        except BackupError as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"the backup cannot be written: {error}") from error
        finally:
            signal.signal(signal.SIGTERM, previous)
        count, has_key = len(writer.members), f"{STATE_PREFIX}{patient_key.FILE}" in writer.members
        backup_note(actor=ACTOR, size=size, members=count, with_patient_key=has_key)
        self.stdout.write(f"backup: {out} ({size / 1e6:.1f} MB, {count} members)")
        if missing:
            self.stdout.write(
                f"Not in this file: the pictures of {missing} snapshots of accepted images, which "
                f"are not in {settings.STATE_DIR}/{FROZEN}. Keep those of the training worker's "
                "machine."
            )
        if not has_key:
            told = "Keep the patients' key elsewhere: it is not in this file."
            self.stdout.write(f"{told} Its id is {patient_key_id()}.")

    def _write(self, out: Path, without_key: bool) -> tuple[Writer, int, int]:
        """(what wrote it, size, of how many snapshots the pictures are not here)."""
        parameters = connection.get_connection_params()
        state = Path(settings.STATE_DIR)
        writer = Writer(out)
        try:
            # The database first: the folders of every snapshot it knows are there by then.
            with moment(parameters) as seen:
                program, version = pg_dump_program(seen.server)
                with dumped(program, parameters, seen.snapshot) as stream:
                    writer.add(DUMP, stream)
            frozen = {name for name in seen.frozen if (state / FROZEN / name).is_dir()}
            for name in _single_files(state, without_key=without_key):
                writer.add_file(STATE_PREFIX + name, state / name)
            for name, path in _files_below(state, frozen):
                writer.add_file(STATE_PREFIX + name, path)
            return writer, writer.finish(_facts(seen, version)), len(seen.frozen - frozen)
        finally:
            writer.close()


def _single_files(state: Path, *, without_key: bool) -> Iterator[str]:
    """Names of the files that a new state folder needs.

    The patients' key only where it is the one in use: where that comes from the environment, an
    older file may lie here, and would be taken for it.
    """
    for name in FILES:
        if not (state / name).is_file():
            continue
        if name == patient_key.FILE:
            is_used = patient_key.key_id_in((state / name).read_bytes()) == patient_key_id()
            if without_key or not is_used:
                continue
        yield name


def _files_below(state: Path, frozen: Collection[str]) -> Iterator[tuple[str, Path]]:
    """(name in the state folder, path) of what its folders hold. No drafts, no links.

    Of frozen pictures those of snapshots that the dump knows: a freeze that comes to nothing takes
    its folder away again. Raises ``OSError`` where one that it knows vanishes meanwhile.
    """
    for folder in FOLDERS:
        below = [f"{FROZEN}/{name}" for name in sorted(frozen)] if folder == FROZEN else [folder]
        for name in below:
            if name == folder and not (state / name).is_dir():
                continue
            yield from _walk(state, name)


def _walk(state: Path, folder: str) -> Iterator[tuple[str, Path]]:
    def fail(error: OSError) -> None:
        raise error

    for where, below, names in os.walk(state / folder, onerror=fail):
        # A draft is somebody's unfinished work: its name gets a dot.
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            path = Path(where) / name
            if not name.startswith(".") and path.is_file() and not path.is_symlink():
                yield path.relative_to(state).as_posix(), path


def _facts(seen: Moment, pg_dump: int) -> dict[str, Any]:
    return {
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "state": str(settings.STATE_DIR),
        "postgres": seen.server,
        "pg_dump": pg_dump,
        "bytes": uploads().place,
        "patient_key_id": patient_key_id(),
        "migrations": seen.migrations,
        "rows": seen.rows,
    }
