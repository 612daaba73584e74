"""`manage.py import_dataset DIR`: keep a snapshot of a data folder under the state folder."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Set as AbstractSet
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from cases.access import Actor, ActorKind
from cases.selectors.audit import audit_has
from cases.selectors.snapshots import snapshot_has
from cases.services.audit import audit_record
from cases.services.imported_patients import (
    imported_patient_issuer_keys,
    imported_patient_key,
    imported_patients_keep,
    issuers_known,
)
from cases.services.locks import advisory_lock
from cases.services.snapshots import snapshot_register

if TYPE_CHECKING:
    from ml.importer import Import
    from ml.snapshot import Document

# Source (None: not stated) and id.
Patients = AbstractSet[tuple[str | None, str]]

ACTION = "dataset.imported"
# A draft that nothing was written into for so long is of a run that was killed.
DRAFT_S = 24 * 3600
ACTOR = Actor(kind=ActorKind.COMMAND, label="manage.py import_dataset")


class Command(BaseCommand):
    help = (
        "Read a folder of labelled pictures (one folder per class, or a CSV manifest), report what "
        "is in it, and keep an immutable snapshot in STATE/snapshots/<id>/, from which models can "
        "be trained. Without DIR: make those snapshots known to the service that are there already."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "data", nargs="?", type=Path, metavar="DIR", help="folder, or a .csv manifest"
        )
        parser.add_argument("--folds", type=int, default=5, help="stored folds (default 5)")
        parser.add_argument("--seed", type=int, default=0, help="of the stored splits (default 0)")
        parser.add_argument("--licence", action="append", default=[], metavar="SOURCE=TEXT")

    def handle(self, *args: Any, **options: Any) -> None:
        # Imported here: the web image has this command and no packages of the worker.
        from ml.errors import MlError
        from ml.importer import import_dataset, parse_licences, report_text, snapshot_text

        if options["data"] is None:
            self._register_known()
            return
        if options["folds"] < 2 or options["seed"] < 0:
            raise CommandError("--folds must be at least 2 and --seed not negative", returncode=2)
        try:
            licences = parse_licences(options["licence"])
            found = import_dataset(options["data"])
            self.stdout.write(report_text(found.report), ending="")
            document = found.snapshot(
                folds=options["folds"], seed=options["seed"], licences=licences
            )
            folder = Path(settings.STATE_DIR) / "snapshots" / document["id"]
            is_new = keep(found, document, folder)
        except MlError as error:
            raise CommandError(str(error), returncode=2) from error
        except OSError as error:
            raise CommandError(f"the snapshot cannot be kept: {error}") from error
        self.stdout.write(snapshot_text(document), ending="")
        self.stdout.write(f"{'saved' if is_new else 'there already'}: {folder}")
        self._register_known()

    def _register_known(self) -> None:
        """Make known what an earlier version kept: where its pictures lie, nobody has told."""
        from ml.errors import DatasetError
        from ml.snapshot import FILE, load_snapshot

        for path in sorted((Path(settings.STATE_DIR) / "snapshots").glob(f"[!.]*/{FILE}")):
            if snapshot_has(snapshot_id=path.parent.name):
                continue
            try:
                register(load_snapshot(path), path.read_bytes(), data_root="")
            except (DatasetError, OSError) as error:
                self.stderr.write(f"not registered: {error}")
                continue
            self.stdout.write(
                f"registered: {path.parent} (import its data folder again to train from it)"
            )


def register(
    document: Document, content: bytes, *, data_root: str, patients: Patients = frozenset()
) -> None:
    """Make a checked snapshot known to the service, with the keys of its patients."""
    from ml.layouts import printable

    issuers = issuers_known()
    snapshot, _ = snapshot_register(
        actor=ACTOR,
        document=document,
        content=content,
        name=printable(document["name"]),
        # A name that is no text cannot be stored: the same as not told.
        data_root=data_root if printable(data_root) == data_root else "",
        patient_keys={imported_patient_key(source, patient) for source, patient in patients},
    )
    filed = (imported_patient_issuer_keys(source, who, issuers) for source, who in patients)
    imported_patients_keep(snapshot, frozenset().union(*filed), by_issuer=True)


def keep(found: Import, document: Document, folder: Path) -> bool:
    """Write the snapshot's folder whole and note it in the audit trail; False if it is there.

    The folder gets its name inside the transaction of its event, and loses it where that fails. A
    run that was killed between the two leaves a folder without its event: the next one notes it.
    Raises ``DatasetError`` where what is there was changed.
    """
    from ml.snapshot import FILE, load_snapshot

    root = str(found.dataset.root.resolve())
    patients = found.patients()
    if folder.exists():
        note(load_snapshot(folder / FILE), (folder / FILE).read_bytes(), root, patients)
        return False
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(folder.parent)
    draft = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    # The contact sheets hold patients' pictures.
    draft.mkdir(mode=0o700)
    place = draft
    try:
        found.save(document, draft)
        with transaction.atomic():
            note(document, (draft / FILE).read_bytes(), root, patients)
            # Fails where another run was first.
            place = draft.rename(folder)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    return True


@transaction.atomic
def note(document: Document, content: bytes, root: str, patients: Patients) -> None:
    """Make the snapshot known, and put the import into the audit trail, once for each snapshot."""
    # A run that finds the folder of another one waits here for that one's event.
    advisory_lock("snapshot", document["id"], wait=True)
    register(document, content, data_root=root, patients=patients)
    if audit_has(action=ACTION, object_id=document["id"]):
        return
    audit_record(
        actor=ACTOR,
        action=ACTION,
        object_type="snapshot",
        object_id=document["id"],
        detail={
            "images": len(document["files"]),
            "skipped": len(document["skipped"]),
            "groups": document["grouping"]["groups"],
            "conflicting_groups": document["grouping"]["conflicting_groups"],
        },
    )


def sweep(folder: Path) -> None:
    """Remove the drafts of runs that were killed: they hold patients' pictures."""
    for draft in folder.glob(".*"):
        # One that is renamed meanwhile is none.
        with suppress(FileNotFoundError):
            if draft.stat().st_mtime < time.time() - DRAFT_S:
                shutil.rmtree(draft, ignore_errors=True)
