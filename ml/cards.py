"""The model card: what a model is, how it was made, and how it scored.

``python -m ml.cards --model FILE --set KEY=VALUE …`` adds what was measured later.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import torch
import torchvision

from ml import registry
from ml.calibrate import Calibration
from ml.cli import UsageError, run_cli
from ml.config import CLASSES, TrainConfig
from ml.dataset import Dataset
from ml.duplicates import RULE
from ml.model import Layout, LoadReport
from ml.preprocessing import Preprocessing
from ml.registry import ARCHITECTURE, FORMAT, Card, OperatingPoint

_CHOSEN_BY = {
    "best": "lowest validation log loss after temperature scaling",
    "last": "the last epoch, set before training",
}
INTENDED_USE = (
    "Research on breast ultrasound. Not a medical device: a person decides, with the picture and "
    "the patient before them. A score is a model score, not a probability of cancer and not a "
    "BI-RADS category."
)
LIMITS = (
    "Scores reflect the share of malignant pictures in the training data, not in any clinic.",
    "'normal' means no lesion pattern in this picture.",
    "The heatmap is coarse: 7 x 7 cells over the input square. It shows neither the extent of a "
    "lesion nor the cause of the answer.",
)
KNOWN_GAPS = (
    "men",
    "people under 18",
    "breasts with implants",
    "lactating breasts",
    "treated breasts",
    "Doppler and elastography",
    "scanners and hospitals other than those of the data",
)


def limits_of(dataset: Dataset) -> list[str]:
    """What a model cannot know by its training data: :data:`LIMITS`, and what these data lack."""
    limits = list(LIMITS)
    sources = sorted({record.source for record in dataset.records})
    normal = sorted({record.source for record in dataset.records if record.label == "normal"})
    if not normal:
        limits.append("There is no 'normal' picture in the training data.")
    elif len(sources) > 1 and len(normal) == 1:
        limits.append(
            f"All 'normal' pictures come from one source, {normal[0]}: the model may tell the "
            "source instead."
        )
    if len(sources) == 1:
        limits.append(f"All pictures come from one source, {sources[0]}.")
    unnamed = sorted({r.source for r in dataset.records if r.patient_id is None})
    if unnamed:
        limits.append(
            f"Pictures without patient ids (in {', '.join(unnamed)}): near-duplicates are kept "
            "together, but two different pictures of one patient can lie on both sides of a split."
        )
    return limits


def make_card(
    *,
    version: str,
    layout: Layout,
    preprocessing: Preprocessing,
    calibration: Calibration,
    limits: Sequence[str] = LIMITS,
) -> Card:
    """The entries that serving needs (see ``ml.registry``), with intended use and limits.

    ``limits`` are those of the training data (:func:`limits_of`); without it, of any data.
    """
    return {
        "format": FORMAT,
        "version": version,
        "architecture": ARCHITECTURE,
        "layout": layout,
        "classes": list(CLASSES),
        "preprocessing": preprocessing.to_dict(),
        "preprocessing_digest": preprocessing.digest(),
        **calibration_entries(calibration),
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "intended_use": INTENDED_USE,
        "limits": list(limits),
        "known_gaps": list(KNOWN_GAPS),
        "research_use_only": True,
    }


def calibration_entries(calibration: Calibration) -> dict[str, Any]:
    """The card's entries that turn logits into answers."""
    point = OperatingPoint(calibration.threshold, calibration.sensitivity)
    return {
        "temperature": calibration.temperature,
        "operating_point": point.to_json(),
        "abstention": {
            "minimum_score": calibration.minimum_score,
            "rule": "no answer when the largest calibrated score is below minimum_score",
            "error_among_answered": calibration.error,
            "coverage": calibration.coverage,
        },
    }


def training_facts(
    config: TrainConfig,
    *,
    data: dict[str, Any],
    initial: LoadReport,
    chosen_epoch: int,
    calibrated_on: str,
    device: str,
    history: list[dict[str, float]],
    curves: str,
) -> dict[str, Any]:
    """How a model was made: settings, data, initial weights, software, time."""
    return {
        "config": config.to_dict(),
        "config_digest": config.digest(),
        "data": data,
        "grouping_rule": RULE,
        "initial_weights": {
            "source": initial.source,
            "loaded": list(initial.loaded),
            "fresh": list(initial.fresh),
            "ignored": list(initial.ignored),
        },
        "epochs_run": len(history),
        "chosen_epoch": chosen_epoch,
        "chosen_by": _CHOSEN_BY[config.choose],
        "calibrated_on": calibrated_on,
        "seconds": round(sum(row["seconds"] for row in history)),
        "curves": curves,
        "device": device,
        "software": {"torch": torch.__version__, "torchvision": torchvision.__version__},
    }


def set_entry(card: Card, path: str, value: Any) -> None:
    """Set ``value`` at a dotted path such as ``evaluation.folds.title``, making what is missing.

    Raises ``UsageError`` for entries that decide answers (they are under the file's hash) and
    for a path through something that is no mapping.
    """
    *above, last = path.split(".")
    if (above or [last])[0] in registry.PROTECTED_KEYS:
        raise UsageError(f"{path} decides answers and cannot be set afterwards")
    inner: Any = card
    for key in above:
        inner = inner.setdefault(key, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{path} leads through {key}, which holds a value")
    inner[last] = value


def _no_number(name: str) -> NoReturn:
    raise UsageError(f"{name} is no number in JSON, so it cannot stand on a card")


def _value(text: str) -> Any:
    """``@FILE`` is that file's JSON; else JSON where it is some, else the text itself."""
    if not text.startswith("@"):
        try:
            return json.loads(text, parse_constant=_no_number)
        except ValueError:
            return text
    try:
        content = Path(text[1:]).read_text(encoding="utf-8")
        return json.loads(content, parse_constant=_no_number)
    except (OSError, ValueError) as error:
        raise UsageError(f"{text[1:]} holds no JSON ({error})") from None


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.cards --model FILE [--set KEY=VALUE|KEY=@FILE]…``: extend and print a card."""
    parser = argparse.ArgumentParser(prog="python -m ml.cards", description=__doc__)
    parser.add_argument("--model", type=Path, metavar="FILE", help="default: the shipped model")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="dotted key; the value is text, JSON, or @FILE with JSON",
    )
    arguments = parser.parse_args(argv)
    file = arguments.model or registry.shipped_path()
    card, _ = registry.verify_file(file)
    for given in arguments.set:
        path, equals, text = given.partition("=")
        if not equals or not all(path.split(".")):
            raise UsageError(f"--set {given} is not KEY=VALUE")
        set_entry(card, path, _value(text))
    if arguments.set:
        try:
            registry.write_card(file, card)
        except ValueError as error:
            raise UsageError(f"the card would be no JSON ({error})") from None
    else:
        print(json.dumps(card, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
