"""One training from its parts to its last epoch: data split and decoded, network, checkpoints."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ml.batches import TrainingData
from ml.checkpoints import PICTURES, remove_leftovers, write_history
from ml.config import TrainConfig
from ml.dataset import Dataset, Record
from ml.distributed import Loop
from ml.duplicates import group_records
from ml.errors import DatasetError
from ml.inference import resolve_device
from ml.initial import initial_network
from ml.model import Layout, LoadReport
from ml.preprocessing import PREPROCESSING, Preprocessing
from ml.progress import Progress
from ml.split import Split, split_records
from ml.steps import out_of_memory_named
from ml.trainer import Trainer

WEIGHTS = "model.safetensors"
CHECKPOINT = "checkpoint.pt"
HISTORY = "history.csv"


@dataclass(frozen=True)
class Run:
    """What a training needs to start, and again to resume."""

    dataset: Dataset
    split: Split
    config: TrainConfig
    preprocessing: Preprocessing
    layout: Layout
    trainer: Trainer
    initial: LoadReport
    out: Path

    def records(self, indices: Any) -> list[Record]:
        """Records at the positions of one part of the split."""
        return [self.dataset.records[int(i)] for i in indices]

    @property
    def identity(self) -> dict[str, Any]:
        """What the weights come from, whatever part of the data they are trained on."""
        return {
            "config": self.config.digest(),
            "data": self.dataset.digest(),
            "preprocessing": self.preprocessing.digest(),
            "layout": self.layout,
            "initial": self.initial.source,
        }

    @property
    def checkpoint_identity(self) -> dict[str, Any]:
        """What a checkpoint must share with this run to be resumed: the pictures too."""
        text = "\n".join(
            ",".join(sorted(record.sha256 for record in self.records(part)))
            for part in (self.split.train, self.split.validation)
        )
        return {**self.identity, PICTURES: hashlib.sha256(text.encode()).hexdigest()}


def everything(dataset: Dataset) -> Split:
    """Train on all pictures but the quarantined; nothing validates, nothing is held out."""
    grouping = group_records(dataset.records)
    none = np.zeros(0, dtype=np.int64)
    return Split(np.flatnonzero(~grouping.quarantined), none, none, grouping)


def prepare(
    dataset: Dataset,
    config: TrainConfig,
    out: Path,
    *,
    init: str = "none",
    layout: Layout | None = None,
    device: str = "auto",
    split: Split | None = None,
    loop: Loop | None = None,
) -> Run:
    """Split the data, decode it, build the network. Raises ``DatasetError``, ``ModelFileError``."""
    loop = loop or Loop()
    split = split or split_records(dataset.records, folds=config.folds, seed=config.seed)
    preprocessing = replace(PREPROCESSING[config.recipe], size=config.size)
    train = [dataset.records[int(i)] for i in split.train]
    validation = [dataset.records[int(i)] for i in split.validation]
    for part, name in ((train, "training"), (validation, "validation")):
        if name == "validation" and not part:
            continue
        if "malignant" not in {r.label for r in part} or len({r.label for r in part}) < 2:
            raise DatasetError(
                f"the {name} part needs malignant pictures and others; it has {len(part)} pictures"
            )
    network, chosen, report = initial_network(init, layout, config.seed)
    with out_of_memory_named("for the decoded pictures; use a cache on disk"):
        data = TrainingData.load(
            dataset,
            train,
            validation,
            preprocessing,
            groups=split.grouping.groups[split.train],
            validation_groups=split.grouping.groups[split.validation],
            cache=loop.cache,
        )
    where = resolve_device(device)
    trainer = Trainer(network, config, data, preprocessing, where, fresh=report.fresh, loop=loop)
    return Run(dataset, split, config, preprocessing, chosen, trainer, report, out)


def fit(
    run: Run,
    *,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Train to the last epoch, with a checkpoint and ``history.csv`` after each.

    With ``resume`` it goes on from the checkpoint in the run's folder if there is one.
    ``cancelled`` is asked in each step. Of several processes the first one writes and calls
    ``on_epoch``. Raises ``ModelFileError`` for a checkpoint of another run, ``TrainingError`` and
    its kinds later; the last good checkpoint stays.
    """
    checkpoint, identity = run.out / CHECKPOINT, run.checkpoint_identity
    trainer = run.trainer
    if trainer.world.first:
        remove_leftovers(run.out, (CHECKPOINT, HISTORY, WEIGHTS))
    if resume and checkpoint.exists():
        trainer.load_checkpoint(checkpoint, identity)
        if trainer.world.first and trainer.history:
            # It may have been killed between the two files.
            write_history(run.out / HISTORY, trainer.history)
    while trainer.epoch < run.config.epochs:
        row = trainer.run_epoch(on_progress, cancelled)
        if not trainer.world.first:
            continue
        trainer.save_checkpoint(checkpoint, identity)
        write_history(run.out / HISTORY, trainer.history)
        if on_epoch:
            on_epoch(row)
