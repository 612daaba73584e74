"""Pictures of a locked set as people may look at them: small, without their names, noted.

The service keeps a snapshot's document, not its pictures: they stay in the folder that was
imported. They are read there, where this machine reaches it, compared with their hash, and drawn
small by the decoder's child process. Nothing of them is kept, so what is removed from the folder
is gone from here too. Frozen pictures of patients who were erased or opted out, and of images that
are not accepted any more, are not shown.
"""

from __future__ import annotations

import hashlib
import stat
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cases import intake
from cases.access import Actor
from cases.errors import NotFound
from cases.intake.files import PREFIX
from cases.models import ModelVersion, TrainingSnapshot
from cases.selectors.gates import judged_run
from cases.selectors.snapshots import at_site, frozen_void
from cases.services.audit import audit_record
from cases.services.limits import limits
from cases.services.locked_sets import DocumentUnreadableError, document_of

# Enough to know a picture again and to see the lesion; too small for words burnt into it.
SIDE_PX = 192
GONE = (
    "The picture is not in the folder of the locked set any more, may not be shown any more, or "
    "this machine cannot read it."
)
CHANGED = "The picture in the folder of the locked set is another one than was judged on."


def locked_pictures_within_reach(
    *, actor: Actor, model: ModelVersion, sha256s: Iterable[str]
) -> frozenset[str]:
    """Those of the pictures ``model`` was judged on whose files this machine sees now.

    Without those of patients who were erased or opted out, and those that are not accepted any
    more. Only looked for, not read: whether one is still the same is told when it is fetched.
    Raises ``NotFound`` as `judged_run`.
    """
    snapshot = _locked_set(actor, model)
    try:
        files = _files(snapshot)
    except DocumentUnreadableError:
        return frozenset()
    seen = frozenset(sha256s) & files.keys()
    void = set(frozen_void().filter(sha256__in=seen).values_list("sha256", flat=True))
    return frozenset(digest for digest in seen - void if _is_file(_place(snapshot, files[digest])))


def locked_picture(*, actor: Actor, model: ModelVersion, sha256: str) -> bytes:
    """A small PNG of one picture that ``model`` was judged on, without metadata; audited.

    For who curates, trains or promotes at the site of the run. ``NotFound`` where the model was
    not judged here, the set has no such picture, its patient was erased
    or opted out, it is not accepted any more, or its file is gone or another one.
    """
    snapshot = _locked_set(actor, model)
    try:
        entry = _files(snapshot).get(sha256)
    except DocumentUnreadableError as error:
        raise NotFound(GONE) from error
    if entry is None:
        raise NotFound()
    if frozen_void().filter(sha256=sha256).exists():
        raise NotFound(GONE)
    content = _content(_place(snapshot, entry))
    if hashlib.sha256(content).hexdigest() != sha256:
        raise NotFound(CHANGED)
    with tempfile.NamedTemporaryFile(prefix=PREFIX) as file:
        file.write(content)
        file.flush()
        png = intake.render_preview(file.name, 0, limits(), max_side=SIDE_PX)
    audit_record(
        actor=actor,
        action="locked_picture.viewed",
        object_type="snapshot",
        object_id=snapshot.pk,
        detail={"sha256": sha256, "model": str(model.pk)},
    )
    return png


def _locked_set(actor: Actor, model: ModelVersion) -> TrainingSnapshot:
    run = judged_run(actor=actor, model=model)
    assert run.plan is not None  # a run with a report has one: trainingrun_plan_frozen
    locked_set = run.plan.locked_set
    # A plan of an earlier version may have named another site's patients.
    if not TrainingSnapshot.objects.filter(at_site(actor.own_site), pk=locked_set.pk).exists():
        raise NotFound()
    return locked_set


def _files(snapshot: TrainingSnapshot) -> dict[str, Mapping[str, Any]]:
    return {entry["sha256"]: entry for entry in document_of(snapshot)["files"]}


def _place(snapshot: TrainingSnapshot, entry: Mapping[str, Any]) -> Path | None:
    """Where the file should be; None where nobody has told, or it would be outside the folder."""
    name = PurePosixPath(entry["file"])
    if not snapshot.data_root or name.is_absolute() or ".." in name.parts:
        return None
    return Path(snapshot.data_root) / name


def _is_file(path: Path | None) -> bool:
    try:
        return path is not None and path.is_file()
    except OSError:
        return False


def _content(path: Path | None) -> bytes:
    """The file's bytes. ``NotFound`` where it is gone, cannot be read or is no plain file."""
    if path is None:
        raise NotFound(GONE)
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > limits().max_bytes:
            raise NotFound(GONE)
        return path.read_bytes()
    except OSError as error:
        raise NotFound(GONE) from error
