"""The loop of a training worker for freezes: accepted images become a snapshot's folder.

This process draws each accepted part as a PNG without metadata; a child process (`freeze_child`)
compares, groups and describes them. The folder gets its name, the snapshot's id, in the
transaction that makes the snapshot known.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from structlog.contextvars import bound_contextvars

from cases.access import Actor, ActorKind
from cases.errors import Overloaded, UserFacingError
from cases.selectors.freezes import freezes_ended, freezes_unknown
from cases.services.freeze_selection import (
    CannotFreezeError,
    FreezeItem,
    FreezeSelection,
    freeze_select,
    pictures_against,
)
from cases.services.freeze_work import (
    FreezeClaim,
    KeptPicture,
    freeze_claim,
    freeze_heartbeat,
    freeze_picture,
    freeze_release,
    freeze_store,
)
from cases.services.leases import job_fail
from cases.storage import StorageUnavailable
from cases.vocabulary import OutcomeBasis, SnapshotRole
from worker.training_faults import no_space

log = structlog.get_logger(__name__)

CHILD_MODULE = "worker.freeze_child"
NICE = 15
TICK_S = 0.1
HEARTBEAT_S = 2.0
LICENCE = "Patients' images of this service. Not to be passed on."
COLUMNS = ("file", "class", "patient_id", "source", "device", "histology", "side")
# What the child says, in words. Its own message names files only, and goes to the log.
DETAILS = {
    "nothing_left": "No picture is left: see what was left out.",
    "one_class": "A locked set needs malignant pictures and others; one of the two is missing.",
    "too_few_patients": "The splits need about seven patients whose pictures look different.",
    "freeze_failed": "Making the snapshot failed unexpectedly. The log has the reason.",
}


def frozen_folder() -> Path:
    return Path(settings.STATE_DIR) / "frozen"


class LostError(Exception):
    """The freeze is no longer ours: cancelled, taken away, or given back."""


class FreezeRunner:
    """One per worker process. ``should_stop`` is asked all the while."""

    def __init__(self, *, name: str, should_stop: Callable[[], bool] = lambda: False) -> None:
        self.actor = Actor(kind=ActorKind.WORKER, label=name)
        self.should_stop = should_stop
        self._beat_at = 0.0

    def drain(self) -> int:
        """Freeze until nothing waits or the worker must stop. Returns how many were taken."""
        taken = 0
        while not self.should_stop():
            tidy()
            claim = freeze_claim(actor=self.actor)
            if claim is None:
                break
            taken += 1
            with bound_contextvars(job_id=str(claim.job_id)):
                self.process(claim)
        return taken

    def process(self, claim: FreezeClaim) -> None:
        """Do one attempt to its end, whatever that is. Its draft goes in any case."""
        self._beat_at = 0.0
        draft = frozen_folder() / f".{claim.job_id}.{secrets.token_hex(4)}"
        try:
            draft.mkdir(mode=0o700, parents=True)
            self._freeze(claim, draft)
        except LostError:
            log.info("freeze_fenced_out", attempt=claim.attempt)
        except CannotFreezeError as error:
            self._fail(claim, error)
        except StorageUnavailable as error:
            self._fail(
                claim, CannotFreezeError("storage_unavailable", error.detail, transient=True)
            )
        except OSError as error:
            log.warning("freeze_input_output", error=type(error).__name__)
            full = no_space(str(error))
            self._fail(
                claim,
                CannotFreezeError(
                    "disk_full" if full else "input_output",
                    "No space is left on the training worker's disk."
                    if full
                    else "A stored image or a file could not be read or written.",
                    transient=not full,
                ),
            )
        except Exception:
            # Anything else is a fault of ours: named, logged, and not tried until it is mended.
            log.exception("freeze_failed_unexpectedly", attempt=claim.attempt)
            self._fail(claim, CannotFreezeError("freeze_failed", DETAILS["freeze_failed"]))
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _fail(self, claim: FreezeClaim, error: CannotFreezeError) -> None:
        state = job_fail(
            actor=self.actor,
            job_id=claim.job_id,
            attempt=claim.attempt,
            code=error.code,
            detail=error.detail,
            transient=error.transient,
        )
        log.warning("freeze_failed", code=error.code, attempt=claim.attempt, state=state)

    def _freeze(self, claim: FreezeClaim, draft: Path) -> None:
        selection = freeze_select(claim.freeze)
        if not selection.items:
            raise CannotFreezeError(
                "nothing_accepted",
                f"No accepted image can be taken. {words_of(selection.left_out)}".strip(),
            )
        dropped: Counter[str] = Counter()
        named = self._draw(claim, selection, draft / "data", dropped)
        self._request(claim, selection, named, draft)
        self._describe(claim, draft, done=len(named))
        said = json.loads((draft / "result.json").read_bytes())
        dropped.update(said["dropped"].values())
        by_file = {name: item for name, item in named.items() if name in said["kept"]}
        kept = [KeptPicture(item, said["kept"][name]) for name, item in by_file.items()]
        content = (draft / "snapshot.json").read_bytes()
        self._store(claim, selection, kept, dropped, content, draft)

    def _draw(
        self, claim: FreezeClaim, selection: FreezeSelection, folder: Path, dropped: Counter[str]
    ) -> dict[str, FreezeItem]:
        """Write each picture under the hash of its bytes; which name is whose.

        Of pictures that are the same to the byte the first is taken; none, where they have
        different labels.
        """
        (folder / "images").mkdir(parents=True)
        named: dict[str, FreezeItem] = {}
        disputed: set[str] = set()
        for number, item in enumerate(selection.items):
            self._keep(claim, number, len(selection.items))
            png = _picture(item, dropped)
            if png is None:
                continue
            name = f"images/{hashlib.sha256(png).hexdigest()[:40]}.png"
            first = named.setdefault(name, item)
            if first is item:
                (folder / name).write_bytes(png)
                continue
            dropped["same_picture"] += 1
            if first.label != item.label:
                disputed.add(name)
        for name in disputed:
            dropped["contradicted"] += 1
            del named[name]
            (folder / name).unlink()
        return named

    def _request(
        self,
        claim: FreezeClaim,
        selection: FreezeSelection,
        named: dict[str, FreezeItem],
        draft: Path,
    ) -> None:
        """Write what the child reads, and the manifest."""
        about = {"name": selection.source, "licence": LICENCE}
        (draft / "data" / "dataset.json").write_text(json.dumps(about), encoding="utf-8")
        rows = [_row(name, item, selection.source) for name, item in named.items()]
        with (draft / "rows.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(sorted(rows))
        seen = pictures_against(selection.against)
        request = {
            "name": claim.freeze.name,
            "both_classes": claim.freeze.role == SnapshotRole.LOCKED,
            "sha256": sorted({h for pictures in seen for h in pictures.hashes}),
            "phash": sorted({h for pictures in seen for h in pictures.perceptual}),
        }
        (draft / "request.json").write_text(json.dumps(request), encoding="utf-8")

    def _describe(self, claim: FreezeClaim, draft: Path, *, done: int) -> None:
        """Have the child compare and describe the pictures. Raises ``CannotFreezeError``."""
        options = {"parent": os.getpid(), "nice": NICE, "draft": str(draft)}
        with (draft / "log").open("wb") as errors:
            child = subprocess.Popen(
                [sys.executable, "-m", CHILD_MODULE, json.dumps(options)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
                cwd=Path(__file__).resolve().parent.parent,
            )
        try:
            while child.poll() is None:
                self._keep(claim, done, done)
                time.sleep(TICK_S)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        if child.returncode == 0:
            return
        text = (draft / "log").read_text(errors="replace")[-4000:]
        code = "freeze_failed"
        with suppress(OSError, ValueError, KeyError):
            code = json.loads((draft / "error.json").read_bytes())["code"]
        log.error("freeze_child_failed", code=code, exit_code=child.returncode, tail=text)
        if no_space(text):
            raise OSError(28, "No space left on device")
        if child.returncode < 0:
            raise CannotFreezeError(
                "freeze_crashed", "The process that compares the pictures died.", transient=True
            )
        raise CannotFreezeError(code, DETAILS.get(code, DETAILS["freeze_failed"]))

    def _store(
        self,
        claim: FreezeClaim,
        selection: FreezeSelection,
        kept: list[KeptPicture],
        dropped: Counter[str],
        content: bytes,
        draft: Path,
    ) -> None:
        document: dict[str, Any] = json.loads(content)
        folder = frozen_folder() / document["id"]
        is_ours = False
        try:
            with transaction.atomic():
                snapshot = freeze_store(
                    actor=self.actor,
                    claim=claim,
                    selection=selection,
                    kept=kept,
                    dropped=dropped,
                    document=document,
                    content=content,
                    data_root=str(folder.resolve() / "data"),
                )
                if snapshot is None:
                    raise LostError
                if not folder.exists():
                    for name in ("rows.csv", "request.json", "result.json", "log"):
                        (draft / name).unlink(missing_ok=True)
                    draft.rename(folder)
                    is_ours = True
        except BaseException:
            if is_ours:
                shutil.rmtree(folder, ignore_errors=True)
            raise
        log.info("frozen", snapshot=document["id"], images=len(kept), role=claim.freeze.role)

    def _keep(self, claim: FreezeClaim, done: int, of: int) -> None:
        """Extend the lease now and then. Raises ``LostError`` where it is not to be kept."""
        if self.should_stop():
            freeze_release(actor=self.actor, claim=claim, reason="the worker is stopping")
            raise LostError
        if time.monotonic() < self._beat_at:
            return
        self._beat_at = time.monotonic() + min(HEARTBEAT_S, settings.BCWEB_LEASE_SECONDS / 3)
        if not freeze_heartbeat(claim=claim, done=done, of=of):
            raise LostError


def _picture(item: FreezeItem, dropped: Counter[str]) -> bytes | None:
    """The accepted part of one image; None, and counted, where it cannot be drawn: one image must
    not keep all others out. Raises ``CannotFreezeError`` where that may be over soon."""
    try:
        return freeze_picture(item=item)
    except Overloaded as error:
        raise CannotFreezeError(
            "overloaded", "The decoder was busy; it is tried again.", transient=True
        ) from error
    except (UserFacingError, ValueError) as error:
        log.warning(
            "freeze_picture_unreadable", image_id=str(item.image_id), error=type(error).__name__
        )
        dropped["undrawable"] += 1
        return None


def _row(name: str, item: FreezeItem, source: str) -> tuple[str, ...]:
    histology = item.pathology if item.basis == OutcomeBasis.HISTOLOGY else ""
    return (name, item.label, item.patient_key, source, item.device, histology, item.side)


def words_of(left_out: dict[str, int]) -> str:
    """What was left out, for a sentence of a job's end."""
    told = [f"{n} {why.replace('_', ' ')}" for why, n in left_out.items()]
    return f"Left out: {', '.join(told)}." if told else ""


def tidy() -> None:
    """Remove what ended freezes left: drafts, and folders that got their name just before their
    worker died, so that no snapshot knows them. They hold patients' pictures."""
    drafts: dict[UUID, list[Path]] = {}
    folders: dict[str, Path] = {}
    with suppress(FileNotFoundError):
        for path in frozen_folder().iterdir():
            if not path.name.startswith("."):
                folders[path.name] = path
                continue
            with suppress(ValueError):
                drafts.setdefault(UUID(path.name[1:37]), []).append(path)
    for freeze_id in freezes_ended(freeze_ids=drafts):
        for draft in drafts[freeze_id]:
            shutil.rmtree(draft, ignore_errors=True)
    for snapshot_id in freezes_unknown(snapshot_ids=folders):
        shutil.rmtree(folders[snapshot_id], ignore_errors=True)
