"""Judge a candidate by a plan of limits on a locked set of pictures, beside the active model."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ml import registry
from ml.cli import UsageError, run_cli
from ml.comparison import ACTIVE, CANDIDATE, compare
from ml.config import CLASSES
from ml.dataset import Dataset, read_dataset
from ml.duplicates import RULE, group_records
from ml.errors import GatePlanError
from ml.evaluate import score_records
from ml.heldout import seen_in_training
from ml.inference import Predictor
from ml.limits import BETTER_BELOW, Answers, GatePlan, LockedSet, judge, plan_sha256
from ml.scored import Scored
from ml.threads import default_threads


def read_plan(path: Path) -> tuple[GatePlan, str]:
    """A plan document and the hash of all of it. Raises ``GatePlanError``."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GatePlanError(f"{path.name} is no plan ({error})") from None
    if not isinstance(document, dict):
        raise GatePlanError(f"{path.name} is no plan: it must be an object")
    return GatePlan.from_dict(document), plan_sha256(document)


def locked_set(dataset: Dataset) -> LockedSet:
    """The locked pictures with their patients: near-duplicates and patient ids joined.

    Raises ``GatePlanError`` where pictures of one group have different classes: their truth is
    for a person to settle first.
    """
    grouping = group_records(dataset.records)
    if grouping.conflicts:
        raise GatePlanError(
            f"{len(grouping.conflicts)} groups of alike pictures in the locked set have different "
            "classes"
        )
    return LockedSet(
        targets=np.array([r.target for r in dataset.records], dtype=np.int64),
        patients=grouping.groups,
        sources=tuple(r.source for r in dataset.records),
    )


def answers_of(
    predictor: Predictor, dataset: Dataset, *, may_have_seen: bool
) -> tuple[Answers, Scored, int]:
    """One model's answers to all pictures, as served, and how many it was trained on.

    Raises ``GatePlanError`` for a model that was trained on a locked picture or one alike, unless
    it ``may_have_seen`` them.
    """
    path, card = predictor.model.path, predictor.model.card
    trained = registry.trained_pictures(path)
    seen = seen_in_training(card, trained, dataset, dataset.records)
    if seen.any and not may_have_seen:
        raise GatePlanError(
            f"{predictor.model.version} was trained on {seen.same} of the locked pictures and on "
            f"{seen.alike} more that look the same: nothing can be judged on them"
        )
    scored = score_records(predictor, dataset, dataset.records)
    answered = np.array([outcome == "answered" for outcome in scored.outcomes], dtype=np.bool_)
    threshold = predictor.model.operating_point.threshold
    return Answers(scored.scores, threshold, answered), scored, seen.same + seen.alike


def run_gate(
    plan_file: Path,
    data: Path,
    candidate: Path,
    active: Path | None,
    *,
    device: str = "auto",
    draw: bool = False,
) -> dict[str, Any]:
    """The verdict with what it rests on: plan's hash, models, data, and every picture's answers.

    ``comparison`` holds what the limits did not ask for: every figure of both models by source,
    their confusion matrices and curves; with ``draw`` the curves also as SVG (``figures``).
    The active model may have been trained on locked pictures, which favours it: ``seen`` of
    ``active`` says of how many. Raises ``GatePlanError``, ``DatasetError``, ``ModelFileError``.
    """
    plan, digest = read_plan(plan_file)
    dataset = read_dataset(data)
    if dataset.skipped:
        for entry in dataset.skipped:
            print(f"skipped {entry.file}: {entry.reason}", file=sys.stderr)
        raise GatePlanError(f"{len(dataset.skipped)} files of the locked set cannot be read")
    locked = locked_set(dataset)
    ours = Predictor(candidate, device=device, threads=default_threads())
    answers, scored, _ = answers_of(ours, dataset, may_have_seen=False)
    models = {CANDIDATE: _named(ours, 0)}
    answered = {CANDIDATE: scored}
    both = {CANDIDATE: answers}
    if active is not None:
        other = Predictor(active, device=device, threads=default_threads())
        both[ACTIVE], answered[ACTIVE], seen = answers_of(other, dataset, may_have_seen=True)
        models[ACTIVE] = _named(other, seen)
    comparison = compare(plan, locked, both, answered)
    if draw:
        from ml.figures_compare import comparison_figures

        names = {who: str(model["version"]) for who, model in models.items()}
        comparison["figures"] = comparison_figures(locked.targets, both, names)
    return {
        **judge(plan, locked, answers, both.get(ACTIVE)),
        "plan_sha256": digest,
        "plan": plan.to_dict(),
        "models": models,
        "data": {"name": dataset.root.name, "digest": dataset.digest()},
        "grouping_rule": RULE,
        "comparison": comparison,
        "pictures": _pictures(dataset, answered),
    }


def _named(predictor: Predictor, seen: int) -> dict[str, Any]:
    model = predictor.model
    return {"version": model.version, "sha256": model.sha256, "seen": seen}


def _pictures(dataset: Dataset, answered: dict[str, Scored]) -> list[dict[str, Any]]:
    """What each model said of each picture, to look at where they differ."""
    rows = []
    for place, record in enumerate(dataset.records):
        row: dict[str, Any] = {
            "file": record.file,
            "sha256": record.sha256,
            "truth": record.label,
            "source": record.source,
        }
        for who, scored in answered.items():
            row[who] = {
                "outcome": scored.outcomes[place],
                "label": scored.labels[place],
                "scores": dict(zip(CLASSES, scored.scores[place].tolist(), strict=True)),
            }
        rows.append(row)
    return rows


def summary(verdict: dict[str, Any]) -> str:
    """The verdict and a line for each limit."""
    lines = [
        f"{verdict['state'].replace('_', ' ')}: {verdict['n']} pictures, "
        f"{verdict['malignant_patients']} malignant patients "
        f"(at least {verdict['minimum_malignant_patients']})"
    ]
    for row in verdict["limits"]:
        limit = row["limit"]
        sign = "no more than" if limit["metric"] in BETTER_BELOW else "no less than"
        where = f" on {limit['source']}" if limit["source"] else ""
        versus = " against the active model" if limit["against"] == "active" else ""
        found = row["why"] or f"{row['judged']:.4f} by its {limit['by']}"
        lines.append(
            f"  {'ok  ' if row['passed'] else 'FAIL'} {limit['metric']}{where}{versus}: "
            f"{found}, {sign} {limit['bound']:g}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.gate --plan FILE --data DIR --candidate FILE [--active FILE] [--json OUT]``.

    0: the candidate passed, 1: it did not, 2: bad input.
    """
    parser = argparse.ArgumentParser(prog="python -m ml.gate", description=__doc__)
    parser.add_argument("--plan", type=Path, required=True, metavar="JSON")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="the locked set")
    parser.add_argument("--candidate", type=Path, required=True, metavar="FILE")
    parser.add_argument("--active", type=Path, metavar="FILE", help="the model live now")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, metavar="N")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the verdict")
    arguments = parser.parse_args(argv)
    if arguments.threads is not None and arguments.threads < 1:
        raise UsageError("--threads must be at least 1")
    torch.set_num_threads(arguments.threads or default_threads())
    verdict = run_gate(
        arguments.plan,
        arguments.data,
        arguments.candidate,
        arguments.active,
        device=arguments.device,
    )
    if arguments.json:
        text = json.dumps(verdict, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        registry.write_atomic(arguments.json, text.encode())
    print(summary(verdict))
    return 0 if verdict["state"] == "passed" else 1


if __name__ == "__main__":
    sys.exit(run_cli(main))
