"""Grouped k-fold: train on the rest, score each fold once, measure all out-of-fold scores."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ml.allocator import keep_blocks
from ml.cli import UsageError, run_cli
from ml.config import RECIPES, TrainConfig
from ml.dataset import Dataset, limit_records, read_dataset
from ml.duplicates import RULE, group_records
from ml.evaluate import (
    Scored,
    build_parser,
    check_counts,
    evaluation,
    lesion_areas,
    score_records,
    summary,
    write_outputs,
)
from ml.finish import RESULT_FILE, recalibrate, write_uncalibrated
from ml.inference import Predictor
from ml.metrics import measure
from ml.oof import FILE as OOF_FILE
from ml.oof import OutOfFold, logits_from_scores
from ml.progress import StopSignal
from ml.registry import write_atomic
from ml.run import CHECKPOINT, WEIGHTS, Run, fit, prepare
from ml.scored import cross_fitted, records_of
from ml.split import Split, split_records
from ml.threads import default_threads

By = Literal["group", "source"]

PLAN_FILE = "folds.json"
"""How an output folder's folds were made: never to be mixed with others."""


def cross_validate(
    dataset: Dataset,
    config: TrainConfig,
    out: Path,
    *,
    init: str = "none",
    device: str = "auto",
    resume: bool = False,
    by: By = "group",
    keep_checkpoints: bool = True,
    bootstraps: int = 1000,
    stop: StopSignal | None = None,
    only: Sequence[int] | None = None,
) -> tuple[dict[str, Any], Scored]:
    """Train a model for each of :func:`fold_splits` into ``out/fold-k`` and measure them.

    Each picture is scored once, by a model that saw no picture of its group and trained for a
    number of epochs that was set before. What turns a fold's logits into answers (temperature,
    threshold, abstention) is fitted on the logits of the other folds. Quarantined pictures are in
    no fold. Writes ``out/oof.npz`` and the folds' model files. A resumed run takes the scores of
    finished folds and the checkpoints of others. ``only`` trains these folds now; what is measured
    are all that are there, as the figures' ``folds_measured`` of ``folds_planned`` say, so that
    folds can be shared out among machines or nights. Returns the evaluation JSON and the scores.
    Raises ``UsageError`` for a folder that holds folds made in another way.
    """
    if config.choose != "last":
        raise UsageError("cross-validation has no validation part to choose an epoch by")
    stop = stop or StopSignal()
    splits = fold_splits(dataset, config, by)
    _claim(out, by, len(splits))
    wanted = range(len(splits)) if only is None else only
    if not set(wanted) <= set(range(len(splits))):
        raise UsageError(f"the folds are numbered 0 to {len(splits) - 1}")
    parts: list[OutOfFold] = []
    for fold, split in enumerate(splits):
        folder = out / f"fold-{fold}"
        left = _left_scores(folder, dataset, split) if resume else None
        if left is None and fold not in wanted:
            continue
        run = prepare(dataset, config, folder, init=init, device=device, split=split)
        if left is not None and left.identity == run.identity:
            print(f"fold {fold}: already scored", flush=True)
            parts.append(left)
            continue
        if fold not in wanted:
            continue
        print(f"fold {fold}: {run.initial}", flush=True)
        with stop.gracefully():
            fit(run, resume=resume, on_epoch=partial(_tell, fold), cancelled=stop.requested)
        parts.append(_score_fold(run, fold))
        parts[-1].save(folder / OOF_FILE)
        if not keep_checkpoints:
            (folder / CHECKPOINT).unlink()
    if not parts:
        raise UsageError(f"none of the {len(splits)} folds is there to measure")
    scores = _joined(parts)
    scores.save(out / OOF_FILE)
    result, scored = _measure(dataset, config, scores, out, bootstraps)
    result["folds_by"] = by
    result["folds_planned"] = len(splits)
    result["folds_measured"] = np.unique(scores.folds).tolist()
    return result, scored


def _left_scores(folder: Path, dataset: Dataset, split: Split) -> OutOfFold | None:
    """The scores that an earlier run left of a fold's held-out pictures, if it finished them."""
    if not (folder / OOF_FILE).exists():
        return None
    found = OutOfFold.load(folder / OOF_FILE)
    held_out = [dataset.records[int(i)].sha256 for i in split.held_out]
    return found if list(found.sha256) == held_out else None


def _claim(out: Path, by: By, count: int) -> None:
    """Write how the folds are made into their folder, or refuse one that holds others."""
    plan = {"by": by, "folds": count}
    path = out / PLAN_FILE
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        # Folders of earlier versions have no plan; more folds than are made now show all the same.
        known = plan if not (out / f"fold-{count}").exists() else None
    except ValueError:
        known = None
    if known != plan:
        raise UsageError(f"{out} holds the folds of another cross-validation; give another --out")
    write_atomic(path, (json.dumps(plan) + "\n").encode())


def fold_splits(dataset: Dataset, config: TrainConfig, by: By = "group") -> list[Split]:
    """What each fold trains on and holds out; nothing validates, quarantined pictures are out.

    ``group``: the grouped folds of :func:`ml.split.split_records`. ``source``: each source is
    held out once and scored by a model of the others, so nothing at all is shared; raises
    ``UsageError`` for data from a single source.
    """
    records = dataset.records
    grouping = group_records(records)
    if by == "group":
        return [
            split_records(
                records,
                folds=config.folds,
                seed=config.seed,
                fold=fold,
                validate=False,
                grouping=grouping,
            )
            for fold in range(config.folds)
        ]
    names = sorted({record.source for record in records})
    if len(names) < 2:
        raise UsageError(f"all pictures are from {names[0]}: there is no other source to hold out")
    sources = np.array([record.source for record in records])
    usable = np.flatnonzero(~grouping.quarantined)
    return [
        Split(
            usable[sources[usable] != name],
            usable[:0],
            usable[sources[usable] == name],
            grouping,
            fold=fold,
            source=name,
        )
        for fold, name in enumerate(names)
    ]


def _score_fold(run: Run, fold: int) -> OutOfFold:
    """Write the fold's model and score its held-out pictures through the file, as served."""
    write_uncalibrated(run, version=f"fold-{fold}")
    predictor = Predictor(run.out / WEIGHTS, device=str(run.trainer.device))
    records = run.records(run.split.held_out)
    scored = score_records(predictor, run.dataset, records)
    return OutOfFold(
        files=tuple(r.file for r in records),
        sha256=tuple(r.sha256 for r in records),
        logits=logits_from_scores(scored.scores),
        targets=scored.targets,
        folds=np.full(len(records), fold, dtype=np.int64),
        groups=run.split.grouping.groups[run.split.held_out],
        identity=run.identity,
    )


def _joined(parts: Sequence[OutOfFold]) -> OutOfFold:
    return OutOfFold(
        files=tuple(f for p in parts for f in p.files),
        sha256=tuple(s for p in parts for s in p.sha256),
        logits=np.concatenate([p.logits for p in parts]),
        targets=np.concatenate([p.targets for p in parts]),
        folds=np.concatenate([p.folds for p in parts]),
        groups=np.concatenate([p.groups for p in parts]),
        identity=parts[0].identity,
    )


def _measure(
    dataset: Dataset,
    config: TrainConfig,
    out_of_fold: OutOfFold,
    out: Path,
    bootstraps: int,
) -> tuple[dict[str, Any], Scored]:
    """Write each fold's calibration on the others into its model, and measure all scores."""
    records = records_of(out_of_fold, dataset)
    goal = config.target_sensitivity
    everything, thresholds = cross_fitted(out_of_fold, records, goal)
    folds: list[dict[str, Any]] = []
    several = len(np.unique(out_of_fold.folds)) > 1
    for fold in np.unique(out_of_fold.folds).tolist():
        own = out_of_fold.folds == fold
        # A lone fold's model has only its own scores to be calibrated by.
        chosen = out_of_fold.calibration(goal, without=fold if several else None)
        weights = out / f"fold-{fold}" / WEIGHTS
        if weights.exists():  # of a fold from another machine the scores may be all there is
            source = "of the other folds" if several else "of its own held-out pictures"
            recalibrate(weights, chosen, f"out-of-fold scores {source}")
        figures = measure(out_of_fold.targets[own], everything.scores[own], thresholds[own])
        folds.append({"fold": fold, "temperature": chosen.temperature, **figures})
    result = evaluation(
        everything,
        thresholds,
        out_of_fold.groups,
        bootstraps=bootstraps,
        areas=lesion_areas(dataset, records),
    )
    result["folds"] = folds
    return result, everything


def _tell(fold: int, row: dict[str, float]) -> None:
    text = " ".join(f"{k}={v:.4g}" for k, v in row.items())
    print(f"fold {fold}: {text}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.crossval --data DIR [--folds 5] …``: the evaluation's JSON keys."""
    parser: argparse.ArgumentParser = build_parser("python -m ml.crossval", __doc__)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument(
        "--by",
        choices=("group", "source"),
        default="group",
        help="source: hold out each source once (zero-shot), instead of folds of groups",
    )
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="bcweb")
    parser.add_argument("--init", default="imagenet", metavar="FILE|imagenet|none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, metavar="N")
    parser.add_argument("--batch-size", type=int, metavar="N")
    parser.add_argument("--size", type=int, metavar="PX")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, metavar="N")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep the folds' models here")
    parser.add_argument("--resume", action="store_true", help="needs --out")
    parser.add_argument(
        "--only",
        type=int,
        nargs="+",
        metavar="K",
        help="train these folds now (from 0) and measure those that are there; needs --out",
    )
    arguments = parser.parse_args(argv)
    check_counts(arguments)
    if arguments.folds < 2:
        raise UsageError("--folds must be at least 2")
    if arguments.resume and arguments.out is None:
        raise UsageError("--resume needs --out")
    if arguments.only and arguments.out is None:
        raise UsageError("--only needs --out")
    keep_blocks()
    torch.set_num_threads(arguments.threads or default_threads())
    names = ("seed", "epochs", "batch_size", "size", "folds")
    config = RECIPES[arguments.recipe].changed(**{n: getattr(arguments, n) for n in names})
    dataset = read_dataset(arguments.data)
    dataset = limit_records(dataset, arguments.limit_images, seed=arguments.seed)
    for entry in dataset.skipped:
        print(f"skipped {entry.file}: {entry.reason}", file=sys.stderr)
    stop = StopSignal()
    with ExitStack() as stack:
        stack.enter_context(stop.listening())
        out = arguments.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        result, scored = cross_validate(
            dataset,
            config,
            out,
            init=arguments.init,
            device=arguments.device,
            resume=arguments.resume,
            by=arguments.by,
            keep_checkpoints=arguments.out is not None,
            bootstraps=arguments.bootstraps,
            stop=stop,
            only=arguments.only,
        )
    result["grouping_rule"] = RULE
    result["data"] = {"name": dataset.root.name, "digest": dataset.digest()}
    result["config"] = config.to_dict()
    if arguments.out is not None:
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        write_atomic(arguments.out / RESULT_FILE, text.encode())
    write_outputs(result, scored, arguments.json, arguments.predictions)
    print(summary(result))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
