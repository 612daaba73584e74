"""Train a model: data folder in; model file, card, history and figures out."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ml import registry
from ml.allocator import keep_blocks
from ml.cli import UsageError, run_cli
from ml.config import RECIPES, TrainConfig
from ml.dataset import Dataset, limit_records, read_dataset
from ml.distributed import Loop, joined
from ml.evaluate import check_counts, score_records, summary
from ml.figures import write_figures
from ml.finish import Evidence, data_facts, finish, finish_on_everything, read_evidence
from ml.inference import Predictor
from ml.progress import Bar, EventStream, Progress, StopSignal, open_events
from ml.run import CHECKPOINT, WEIGHTS, Run, everything, fit, prepare
from ml.split import KINDS, Split, split_records
from ml.threads import default_threads


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
        "--split",
        choices=KINDS,
        default="grouped",
        help="random: the paper's protocol, picture by picture; its figures are too good",
    )
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
    if arguments.crossval and arguments.split == "random":
        raise UsageError("--crossval trains on every picture: no --split")
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
    keep_blocks()
    torch.set_num_threads(arguments.threads or default_threads())
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
        split=_split(arguments, config, dataset),
        loop=loop,
    )
    # Looked at now, not after hours of training.
    evidence = read_evidence(run, arguments.crossval) if arguments.crossval else None
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
        card = _conclude(run, version, evidence, arguments.bootstraps)
        events.send("done", model=WEIGHTS, version=version, sha256=card["weights"]["sha256"])
    return 0


def _split(arguments: argparse.Namespace, config: TrainConfig, dataset: Dataset) -> Split | None:
    """What the arguments ask for; None is the grouped split with a validation part."""
    if arguments.crossval:
        return everything(dataset)
    if arguments.split == "grouped":
        return None
    split = split_records(
        dataset.records, folds=config.folds, seed=config.seed, kind="random", validate=False
    )
    # As published: the test part is looked at in every epoch.
    return replace(split, validation=split.held_out)


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


def _conclude(run: Run, version: str, evidence: Evidence | None, bootstraps: int) -> registry.Card:
    """Write and measure the model, by its cross-validation's evidence if any; print the figures."""
    figures, history = run.out / "figures", run.trainer.history
    if evidence:
        card, scored = finish_on_everything(run, evidence, version=version)
    else:
        card, scored = finish(run, version=version, bootstraps=bootstraps)
    predictor = Predictor(run.out / WEIGHTS, device=str(run.trainer.device))
    trained = score_records(predictor, run.dataset, run.records(run.split.train))
    write_figures(figures, history, card, scored, trained)
    part = "out_of_fold" if evidence else "held_out"
    print(f"{part.replace('_', '-')} figures, {run.out / WEIGHTS}:")
    print(summary(card["metrics"][part]))
    return card


if __name__ == "__main__":
    sys.exit(run_cli(main))
