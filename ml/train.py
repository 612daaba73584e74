"""Train a model: data folder in; model file, card, history and figures out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ml import registry
from ml.batches import TrainingData
from ml.calibrate import Calibration, fit_calibration
from ml.cards import make_card, training_facts
from ml.checkpoints import remove_leftovers, write_history
from ml.cli import UsageError, run_cli
from ml.config import CLASSES, RECIPES, TrainConfig
from ml.dataset import Dataset, Record, limit_records, read_dataset
from ml.distributed import Loop, joined
from ml.duplicates import group_records
from ml.errors import DatasetError
from ml.evaluate import Scored, check_counts, evaluation, score_records, summary
from ml.figures import write_figures
from ml.inference import Predictor, resolve_device
from ml.initial import initial_network
from ml.model import Layout, LoadReport
from ml.oof import FILE as OOF_FILE
from ml.oof import OutOfFold
from ml.preprocessing import PREPROCESSING, Preprocessing
from ml.progress import Bar, EventStream, Progress, StopSignal, open_events
from ml.split import Split, split_records
from ml.trainer import Trainer, out_of_memory_named, predict_logits

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
        """What a checkpoint must share with this run to be resumed."""
        return {
            "config": self.config.digest(),
            "data": self.dataset.digest(),
            "preprocessing": self.preprocessing.digest(),
            "layout": self.layout,
            "initial": self.initial.source,
        }


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
    ``on_epoch``. Raises ``TrainingError`` and its kinds; the last good checkpoint stays.
    """
    checkpoint = run.out / CHECKPOINT
    trainer = run.trainer
    if trainer.world.first:
        remove_leftovers(run.out, (CHECKPOINT, HISTORY, WEIGHTS))
    if resume and checkpoint.exists():
        trainer.load_checkpoint(checkpoint, run.identity)
    while trainer.epoch < run.config.epochs:
        row = trainer.run_epoch(on_progress, cancelled)
        if not trainer.world.first:
            continue
        trainer.save_checkpoint(checkpoint, run.identity)
        write_history(run.out / HISTORY, trainer.history)
        if on_epoch:
            on_epoch(row)


def write_model(
    run: Run, *, version: str, calibration: Calibration, calibrated_on: str
) -> registry.Card:
    """Write the run's weights and card, without figures. Returns the card as written."""
    trainer = run.trainer
    card = make_card(
        version=version,
        layout=run.layout,
        preprocessing=run.preprocessing,
        calibration=calibration,
    )
    card["training"] = training_facts(
        run.config,
        data=data_facts(run.dataset, run.split),
        initial=run.initial,
        chosen_epoch=trainer.best_epoch,
        calibrated_on=calibrated_on,
        device=str(trainer.device),
        history=trainer.history,
    )
    return registry.save_model(run.out / WEIGHTS, trainer.best, card)


def finish(run: Run, *, version: str, bootstraps: int = 1000) -> tuple[registry.Card, Scored]:
    """Calibrate on validation, write the model file, measure it on the held-out part.

    The held-out part is scored through the written file, as the service would, after every
    choice was made. Returns the card as written, and the held-out scores.
    """
    trainer = run.trainer
    trainer.network.load_state_dict(trainer.best)
    logits = predict_logits(trainer.network, trainer.data.validation, trainer.device)
    calibration = fit_calibration(
        logits,
        trainer.data.validation_targets,
        trainer.data.validation_weights,
        run.config.target_sensitivity,
    )
    card = write_model(
        run,
        version=version,
        calibration=calibration,
        calibrated_on="the validation part, each group of near-duplicates counting once",
    )
    file = run.out / WEIGHTS
    predictor = Predictor(file, device=str(trainer.device))
    metrics, scored = {}, None
    for part, indices in (("validation", run.split.validation), ("held_out", run.split.held_out)):
        scored = score_records(predictor, run.dataset, run.records(indices))
        groups = run.split.grouping.groups[indices]
        metrics[part] = evaluation(scored, calibration.threshold, groups, bootstraps=bootstraps)
    card["metrics"] = metrics
    registry.write_card(file, card)
    assert scored is not None
    return card, scored


def finish_on_everything(run: Run, crossval: Path, *, version: str) -> registry.Card:
    """Write a model trained on every picture, calibrated and measured by its cross-validation.

    ``crossval`` is the folder that ``ml.crossval --out`` wrote with the same settings, data and
    initial weights; anything else raises ``UsageError``. The card's figures are out-of-fold.
    """
    out_of_fold = OutOfFold.load(crossval / OOF_FILE)
    # The number of folds is the one setting that a training on everything does not use.
    folds = len(set(out_of_fold.folds.tolist()))
    same = replace(run, config=replace(run.config, folds=folds))
    for key, value in same.identity.items():
        if out_of_fold.identity.get(key) != value:
            raise UsageError(f"the cross-validation in {crossval.name} is of another run: {key}")
    calibration = out_of_fold.calibration(run.config.target_sensitivity)
    card = write_model(
        run,
        version=version,
        calibration=calibration,
        calibrated_on="out-of-fold scores of the cross-validation, near-duplicates counting once",
    )
    try:
        measured = json.loads((crossval / "crossval.json").read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{crossval.name} holds no crossval.json ({error})") from None
    card["metrics"] = {"out_of_fold": measured}
    registry.write_card(run.out / WEIGHTS, card)
    return card


def data_facts(dataset: Dataset, split: Split) -> dict[str, Any]:
    """Name, id, counts and split sizes of the data, without file names."""
    grouping = split.grouping
    parts = {"train": split.train, "validation": split.validation, "held_out": split.held_out}
    return {
        "name": dataset.root.name,
        "digest": dataset.digest(),
        "images": len(dataset.records),
        "classes": dataset.counts(),
        "skipped": len(dataset.skipped),
        "groups": grouping.count,
        "near_duplicate_groups": len(grouping.duplicates),
        "conflicting_groups": len(grouping.conflicts),
        "quarantined_images": int(grouping.quarantined.sum()),
        "split": {
            name: {c: sum(dataset.records[int(i)].label == c for i in part) for c in CLASSES}
            for name, part in parts.items()
        },
    }


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ml.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="bcweb")
    parser.add_argument("--init", default="imagenet", metavar="FILE|imagenet|none")
    parser.add_argument("--layout", choices=("v1.5", "v1", "v1-layer3"), help="of --init's file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit-images", type=int, metavar="N")
    parser.add_argument("--epochs", type=int, metavar="N")
    parser.add_argument("--batch-size", type=int, metavar="N")
    parser.add_argument("--size", type=int, metavar="PX", help="input side, default 224")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, metavar="N")
    parser.add_argument("--version", help="name on the card, default from recipe and seed")
    parser.add_argument("--bootstraps", type=int, default=1000, metavar="N")
    parser.add_argument(
        "--crossval",
        type=Path,
        metavar="DIR",
        help="train on every picture; calibrate and measure by this output of ml.crossval",
    )
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--events", metavar="FILE|-", help="append progress as JSON lines")
    parser.add_argument("--workers", type=int, metavar="N", help="threads that make batches ahead")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="decoded pictures on disk")
    parser.add_argument("--compile", action="store_true", help="fuse kernels with torch.compile")
    arguments = parser.parse_args(argv)
    check_counts(arguments)
    if arguments.size is not None and (arguments.size < 32 or arguments.size % 32):
        raise UsageError("--size must be a multiple of 32")
    for name, least in (("seed", 0), ("workers", 0), ("batch_size", 1), ("threads", 1)):
        if getattr(arguments, name) is not None and getattr(arguments, name) < least:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {least}")
    return arguments


def _config(arguments: argparse.Namespace) -> TrainConfig:
    names = ("seed", "epochs", "batch_size", "size")
    return RECIPES[arguments.recipe].changed(**{n: getattr(arguments, n) for n in names})


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.train --data DIR --out DIR …``: see the contract. Under ``torchrun`` too."""
    arguments = _arguments(argv)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    stop = StopSignal()
    with (
        stop.listening(),
        joined(arguments.device) as world,
        open_events(arguments.events if world.first else None) as events,
        events.ending(),
    ):
        loop = Loop(world, arguments.workers, arguments.compile, arguments.cache)
        return _train(arguments, loop, stop, events)


def _train(arguments: argparse.Namespace, loop: Loop, stop: StopSignal, events: EventStream) -> int:
    config = _config(arguments)
    dataset = limit_records(
        read_dataset(arguments.data), arguments.limit_images, seed=arguments.seed
    )
    run = prepare(
        dataset,
        config,
        arguments.out,
        init=arguments.init,
        layout=arguments.layout,
        device=loop.world.device,
        split=everything(dataset) if arguments.crossval else None,
        loop=loop,
    )
    if loop.world.first:
        for entry in dataset.skipped:
            print(f"skipped {entry.file}: {entry.reason}", file=sys.stderr)
        print(run.initial)
        print(json.dumps(data_facts(dataset, run.split)), flush=True)
        _tell_start(run, events)
    with Bar(shown=loop.world.first) as bar, stop.gracefully():

        def show(progress: Progress) -> None:
            bar.step(progress)
            events.step(progress)

        def tell(row: dict[str, float]) -> None:
            bar.write(" ".join(f"{k}={v:.4g}" for k, v in row.items()))
            events.send("epoch", **row | {"epoch": int(row["epoch"])})
            events.send("checkpoint", epoch=int(row["epoch"]), file=CHECKPOINT)

        fit(
            run,
            resume=arguments.resume,
            on_progress=show,
            on_epoch=tell,
            cancelled=stop.requested,
        )
    if loop.world.first:
        version = arguments.version or f"resnet50-{arguments.recipe}-seed{arguments.seed}"
        card = _conclude(run, version, arguments)
        events.send("done", model=WEIGHTS, version=version, sha256=card["weights"]["sha256"])
    return 0


def _tell_start(run: Run, events: EventStream) -> None:
    trainer = run.trainer
    events.send(
        "start",
        recipe=run.config.recipe,
        seed=run.config.seed,
        epochs=run.config.epochs,
        steps=trainer.steps_per_epoch,
        pictures={"train": len(run.split.train), "validation": len(run.split.validation)},
        device=str(trainer.device),
        processes=trainer.world.size,
        config=run.config.digest(),
        data=run.dataset.digest(),
    )


def _conclude(run: Run, version: str, arguments: argparse.Namespace) -> registry.Card:
    """Write and measure the model as the arguments say; prints the figures."""
    if arguments.crossval:
        card = finish_on_everything(run, arguments.crossval, version=version)
        print(summary(card["metrics"]["out_of_fold"]))
        return card
    card, scored = finish(run, version=version, bootstraps=arguments.bootstraps)
    write_figures(run.out / "figures", run.trainer.history, card, scored)
    print(f"held-out part, {run.out / WEIGHTS}:")
    print(summary(card["metrics"]["held_out"]))
    return card


if __name__ == "__main__":
    sys.exit(run_cli(main))
