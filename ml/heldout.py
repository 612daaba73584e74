"""What a model was trained on and what it held out, by its card and the pictures in its file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml.calibrate import Indices
from ml.cli import UsageError
from ml.dataset import Dataset, Record
from ml.duplicates import MAX_HASH_BITS, group_records
from ml.errors import ModelFileError
from ml.phash import hamming
from ml.registry import Card, TrainedPictures
from ml.split import split_records


@dataclass(frozen=True)
class Seen:
    """How many pictures a model was trained on: byte by byte, and others that look the same."""

    same: int
    alike: int

    @property
    def any(self) -> bool:
        """Whether there is one of either kind."""
        return self.same + self.alike > 0


def _training_data(card: Card) -> dict[str, Any]:
    """What the card tells of the training pictures; raises ``ModelFileError`` where it does not."""
    facts = card.get("training")
    data = facts.get("data") if isinstance(facts, dict) else None
    if not isinstance(data, dict):
        raise ModelFileError("the model's card does not say what the model was trained on")
    return data


def trained_on(card: Card, dataset: Dataset) -> bool:
    """Whether the card says that this very data was used in training."""
    return "training" in card and _training_data(card).get("digest") == dataset.digest()


def seen_in_training(
    card: Card, trained: TrainedPictures | None, whole: Dataset, records: Sequence[Record]
) -> Seen:
    """How many of the records the model was trained on, by what its file holds of its pictures.

    Alike are other files (converted, compressed anew) whose 64-bit hash differs in at most
    :data:`ml.duplicates.MAX_HASH_BITS` bits from a training picture's. A file that tells no
    pictures is only known to have been trained on all of the data that its card names, but for
    the part it held out.
    """
    if trained is None:
        return Seen(len(records) if trained_on(card, whole) else 0, 0)
    others = [r for r in records if bytes.fromhex(r.sha256)[:8] not in trained.digests]
    alike = sum(
        any(hamming(record.phash, known) <= MAX_HASH_BITS for known in trained.hashes)
        for record in others
    )
    return Seen(len(records) - len(others), alike)


def any_held_out(card: Card) -> bool:
    """Whether the card says that a part of the training data was only measured on."""
    split = _training_data(card).get("split")
    held_out = split.get("held_out") if isinstance(split, dict) else None
    if not isinstance(held_out, dict):
        raise ModelFileError("the model's card does not say what was held out of its training")
    return any(held_out.values())


def split_settings(card: Card, dataset: Dataset) -> tuple[int, int]:
    """Number of folds and seed of the split that a model was made with.

    Raises ``UsageError`` for other data, ``ModelFileError`` for a card that does not tell.
    """
    if not trained_on(card, dataset):
        raise UsageError("this model was not trained on this data, so nothing was held out of it")
    try:
        settings = card["training"]["config"]
        return int(settings["folds"]), int(settings["seed"])
    except (KeyError, TypeError, ValueError):
        raise ModelFileError("the model's card does not say how the data was split") from None


def fold_count(card: Card, dataset: Dataset) -> int:
    """How many folds the split of a model has: as many as sources, where a source was held out."""
    folds, _ = split_settings(card, dataset)
    if _training_data(card).get("held_out_source") is None:
        return folds
    return len({record.source for record in dataset.records})


def held_out_indices(
    card: Card, dataset: Dataset, trained: TrainedPictures | None, *, fold: int | None = None
) -> Indices:
    """Positions of the records that the model's own split held out: int64 N.

    ``trained`` is what :func:`ml.registry.trained_pictures` reads from the model file. ``fold`` is
    for cards that do not name theirs; without one it is the first. Raises ``UsageError`` for
    other data, for another fold, for a model that was trained on all of the data, and when the
    file says that one of these pictures was trained on.
    """
    folds, seed = split_settings(card, dataset)
    if not any_held_out(card):
        raise UsageError("this model was trained on all of this data, so nothing was held out")
    data = _training_data(card)
    own: int | None = data.get("fold")
    if None not in (fold, own) and fold != own:
        raise UsageError(f"this model held out fold {own}, not fold {fold}")
    chosen = own if own is not None else fold or 0
    source = data.get("held_out_source")
    if source is not None:
        usable = np.flatnonzero(~group_records(dataset.records).quarantined)
        sources = np.array([record.source for record in dataset.records])
        found: Indices = usable[sources[usable] == source]
    elif 0 <= chosen < folds:
        kind = data.get("split_kind", "grouped")
        found = split_records(
            dataset.records, folds=folds, seed=seed, fold=chosen, kind=kind
        ).held_out
    else:
        raise UsageError(f"--fold must be from 0 to {folds - 1}")
    _check_not_trained(dataset, found, trained)
    return found


def _check_not_trained(
    dataset: Dataset, held_out: Indices, trained: TrainedPictures | None
) -> None:
    if trained is None:
        return
    digests = [bytes.fromhex(record.sha256)[:8] for record in dataset.records]
    within = set(held_out.tolist())
    # A random split parts equal files: what is known from its training part is no contradiction.
    rest = {digest for i, digest in enumerate(digests) if i not in within}
    wrong = sum(digests[i] in trained.digests and digests[i] not in rest for i in within)
    if wrong:
        raise UsageError(
            f"the model was trained on {wrong} of the {len(within)} pictures of this part: "
            "it held out another fold"
        )


def held_out_part(
    card: Card, dataset: Dataset, trained: TrainedPictures | None, *, fold: int | None = None
) -> Dataset:
    """The pictures that the model's own split held out: see :func:`held_out_indices`."""
    places = held_out_indices(card, dataset, trained, fold=fold)
    records = tuple(dataset.records[i] for i in places.tolist())
    return Dataset(dataset.root, records, dataset.skipped)
