"""The judging process: checks the locked set's files, then has `ml.gate` judge the candidate.

Started by `worker.training` as `python -m worker.gate_child OPTIONS`. Imports torch, not Django.
Like the training process it yields to everything else, tells its errors as JSON lines on stdout,
and dies with its worker. The report goes into a file; nothing of it is printed.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcweb.embedded.linux import die_with_parent
from ml.errors import DatasetError, MlError, ModelFileError

if TYPE_CHECKING:
    from ml.snapshot import Document


class LockedSetUnreadableError(DatasetError):
    """The locked set's document is not what its id says."""


class LockedSetChangedError(DatasetError):
    """A picture of the locked set has vanished or differs."""


class LockedSetTakenBackError(DatasetError):
    """Without the pictures that were taken back too little of the locked set is left."""


class LockedPictureSeenError(MlError):
    """The candidate, or the model it started from, was trained on a locked picture."""


class ActiveModelUnusableError(ModelFileError):
    """The live model's file cannot be read."""


class CandidateUnusableError(ModelFileError):
    """The candidate's file cannot be read."""


def main() -> int:
    options = json.loads(sys.argv[1])
    die_with_parent(options["parent"])
    # Never above what the worker itself was given.
    own = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(own, options["nice"]))
    from ml.cli import run_cli

    return run_cli(partial(_run, options))


def _run(options: dict[str, Any]) -> int:
    from ml.progress import open_events

    with open_events("-") as events, events.ending():
        document = _locked(options)
        _check_models(options, document)
        # Without a candidate: before the training, to see whether it can be judged at all.
        if options["candidate"] is not None:
            _judge(options)
        events.send("done")
    return 0


def _locked(options: dict[str, Any]) -> Document:
    """The locked set's document without the pictures that were taken back; the others checked and
    laid out."""
    from worker.training_data import check_files, lay_out, read_document

    root = Path(options["root"])
    try:
        document = read_document(Path(options["document"]))
    except DatasetError as error:
        raise LockedSetUnreadableError(
            f"the document of the locked set cannot be used: {error}"
        ) from None
    document = _without(document, frozenset(options["left_out"]))
    try:
        check_files(document, root)
    except DatasetError as error:
        raise LockedSetChangedError(str(error)) from None
    lay_out(document, root, Path(options["data"]))
    return document


def _without(document: Document, left_out: frozenset[str]) -> Document:
    """``document`` without pictures that nobody may look at any more.

    Raises ``LockedSetTakenBackError`` where no malignant picture is left, or no other.
    """
    files = [entry for entry in document["files"] if entry["sha256"] not in left_out]
    malignant = sum(entry["class"] == "malignant" for entry in files)
    if left_out and not 0 < malignant < len(files):
        raise LockedSetTakenBackError(
            f"{len(document['files']) - len(files)} pictures of the locked set were taken back, "
            "and what is left has no malignant picture, or no other: freeze a new locked set and "
            "declare a plan with it"
        )
    return {**document, "files": files}


def _check_models(options: dict[str, Any], document: Document) -> None:
    from ml import registry

    files: list[tuple[str, type[ModelFileError]]] = [
        ("candidate", CandidateUnusableError),
        ("active", ActiveModelUnusableError),
    ]
    for who, kind in files:
        if options[who] is not None:
            try:
                registry.verify_file(Path(options[who]))
            except (ModelFileError, OSError) as error:
                raise kind(f"the file of the {who} model cannot be used: {error}") from None
    # What the first weights know of the locked pictures, the candidate knows too.
    for who, words in (("candidate", "the model"), ("start", "the model it started from")):
        seen = 0 if options[who] is None else _seen(Path(options[who]), document)
        if seen:
            raise LockedPictureSeenError(
                f"{words} was trained on {seen} of the locked pictures, or on ones that look the "
                "same: nothing can be judged on them"
            )


def _seen(model: Path, document: Document) -> int:
    """How many locked pictures a model was trained on, by what its file tells; 0 where it tells
    nothing."""
    from ml import registry
    from ml.duplicates import MAX_HASH_BITS
    from ml.phash import hamming

    trained = registry.trained_pictures(model)
    if trained is None:
        return 0
    return sum(
        bytes.fromhex(entry["sha256"])[:8] in trained.digests
        or any(hamming(int(entry["phash"], 16), known) <= MAX_HASH_BITS for known in trained.hashes)
        for entry in document["files"]
    )


def _judge(options: dict[str, Any]) -> None:
    import torch

    from ml import gate, registry
    from ml.threads import default_threads

    torch.set_num_threads(default_threads())
    report = gate.run_gate(
        Path(options["plan"]),
        Path(options["data"]),
        Path(options["candidate"]),
        None if options["active"] is None else Path(options["active"]),
        draw=True,
    )
    report["left_out"] = len(options["left_out"])
    text = json.dumps(report, ensure_ascii=False, allow_nan=False)
    registry.write_atomic(Path(options["report"]), text.encode())


if __name__ == "__main__":
    sys.exit(main())
