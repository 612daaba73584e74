"""Grouped k-fold: train on the rest, score each fold once, measure all out-of-fold scores."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ml.calibrate import Floats
from ml.cli import UsageError, run_cli
from ml.config import RECIPES, TrainConfig
from ml.dataset import Dataset, limit_records, read_dataset
from ml.duplicates import RULE, group_records
from ml.evaluate import Scored, build_parser, check_counts, evaluation, summary, write_outputs
from ml.split import split_records
from ml.train import CHECKPOINT, finish, fit, prepare


def cross_validate(
    dataset: Dataset,
    config: TrainConfig,
    out: Path,
    *,
    init: str = "none",
    device: str = "auto",
    resume: bool = False,
    keep_checkpoints: bool = True,
    bootstraps: int = 1000,
) -> tuple[dict[str, Any], Scored]:
    """Train ``config.folds`` models into ``out/fold-k`` and measure their out-of-fold scores.

    Each picture is scored once, by a model that saw no picture of its group; temperature,
    threshold and epoch come from a validation part of that model's own training folds.
    Quarantined pictures are in no fold. A resumed run needs the checkpoints. Returns the
    evaluation JSON and the scores.
    """
    parts: list[Scored] = []
    thresholds: list[Floats] = []
    folds: list[dict[str, Any]] = []
    for fold in range(config.folds):
        split = split_records(dataset.records, folds=config.folds, seed=config.seed, fold=fold)
        folder = out / f"fold-{fold}"
        run = prepare(dataset, config, folder, init=init, device=device, split=split)
        fit(run, resume=resume, on_epoch=partial(_tell, fold))
        card, scored = finish(run, version=f"fold-{fold}", bootstraps=1)
        if not keep_checkpoints:
            (folder / CHECKPOINT).unlink()
        threshold = float(card["operating_point"]["threshold"])
        parts.append(scored)
        thresholds.append(np.full(len(scored.records), threshold))
        metrics = {k: v for k, v in card["metrics"]["held_out"].items() if k != "ci95"}
        folds.append({"fold": fold, "temperature": card["temperature"], **metrics})
    everything = Scored(
        records=tuple(r for p in parts for r in p.records),
        scores=np.concatenate([p.scores for p in parts]),
        outcomes=tuple(o for p in parts for o in p.outcomes),
        labels=tuple(label for p in parts for label in p.labels),
    )
    groups = group_records(everything.records).groups
    result = evaluation(everything, np.concatenate(thresholds), groups, bootstraps=bootstraps)
    result["folds"] = folds
    return result, everything


def _tell(fold: int, row: dict[str, float]) -> None:
    text = " ".join(f"{k}={v:.4g}" for k, v in row.items())
    print(f"fold {fold}: {text}", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.crossval --data DIR [--folds 5] …``: the evaluation's JSON keys."""
    parser: argparse.ArgumentParser = build_parser("python -m ml.crossval", __doc__)
    parser.add_argument("--folds", type=int, default=5)
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
    arguments = parser.parse_args(argv)
    check_counts(arguments)
    if arguments.folds < 2:
        raise UsageError("--folds must be at least 2")
    if arguments.resume and arguments.out is None:
        raise UsageError("--resume needs --out")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    names = ("seed", "epochs", "batch_size", "size", "folds")
    given = {n: getattr(arguments, n) for n in names if getattr(arguments, n) is not None}
    config = replace(RECIPES[arguments.recipe], **given)
    dataset = read_dataset(arguments.data)
    dataset = limit_records(dataset, arguments.limit_images, seed=arguments.seed)
    with ExitStack() as stack:
        out = arguments.out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        result, scored = cross_validate(
            dataset,
            config,
            out,
            init=arguments.init,
            device=arguments.device,
            resume=arguments.resume,
            keep_checkpoints=arguments.out is not None,
            bootstraps=arguments.bootstraps,
        )
    result["grouping_rule"] = RULE
    result["data"] = {"name": dataset.root.name, "digest": dataset.digest()}
    result["config"] = config.to_dict()
    write_outputs(result, scored, arguments.json, arguments.predictions)
    print(summary(result))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
