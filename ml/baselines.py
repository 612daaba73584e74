"""Comparators: texture features with classic classifiers, on the same folds as the network."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tqdm import tqdm

from ml import registry, texture
from ml.calibrate import Floats, Indices, fit_temperature, group_weights, log_loss, softmax
from ml.cli import UsageError, run_cli
from ml.config import CLASSES
from ml.dataset import Dataset, limit_records, read_dataset
from ml.duplicates import RULE, group_records
from ml.errors import DatasetError
from ml.evaluate import check_counts, evaluation, lesion_areas
from ml.oof import OutOfFold
from ml.preprocessing import PREPROCESSING, Preprocessing
from ml.scored import TARGET_SENSITIVITY, cross_fitted, records_of
from ml.split import Split, split_records

NETWORK = "network"
PROTOCOL = (
    "The folds are those of the network. Each fold's settings are chosen by the log loss (after "
    "temperature scaling) on a validation part of its training folds, then the classifier is "
    "fitted on all of them; temperature, threshold and abstention come from the out-of-fold "
    "scores of the other folds, as for the network."
)
_FLOOR = 1e-3  # of a score before its logarithm: a neighbourhood without a class proves little
_ABSENT = -1e3  # logit of a class that the training folds do not have
_COLUMNS = (
    ("accuracy", "accuracy", True),
    ("macro_f1", "macro F1", True),
    ("auc_malignant", "AUC malignant", True),
    ("sensitivity", "sens.", False),
    ("specificity", "spec.", False),
    ("specificity_at_95_sensitivity", "spec. at 95", False),
    ("brier", "Brier", False),
    ("ece", "ECE", False),
)


@dataclass(frozen=True)
class Comparator:
    """A kind of classifier and the settings it may choose from on training folds."""

    title: str
    make: Callable[..., Any]
    settings: tuple[Mapping[str, Any], ...]

    def build(self, chosen: Mapping[str, Any]) -> Pipeline:
        """An unfitted pipeline, features scaled to unit variance first."""
        return make_pipeline(StandardScaler(), self.make(**chosen))


def _machine(**chosen: Any) -> OneVsRestClassifier:
    return OneVsRestClassifier(SVC(kernel="rbf", class_weight="balanced", **chosen))


# Classes are weighted alike where the method can; neighbours count by nearness.
COMPARATORS: dict[str, Comparator] = {
    "knn": Comparator(
        "k nearest neighbours",
        partial(KNeighborsClassifier, weights="distance"),
        tuple({"n_neighbors": k} for k in (9, 21, 41, 81)),
    ),
    "svm": Comparator("SVM, radial basis", _machine, tuple({"C": c} for c in (1, 10, 100))),
    "logistic": Comparator(
        "logistic regression",
        partial(LogisticRegression, class_weight="balanced", max_iter=2000),
        tuple({"C": c} for c in (0.03, 0.3, 3, 30)),
    ),
    "boosting": Comparator(
        "gradient boosting",
        partial(
            HistGradientBoostingClassifier,
            learning_rate=0.05,
            max_leaf_nodes=15,
            l2_regularization=1.0,
            class_weight="balanced",
            early_stopping=False,
            random_state=0,
        ),
        tuple({"max_iter": n} for n in (100, 200, 400)),
    ),
}


def texture_features(
    dataset: Dataset, preprocessing: Preprocessing, *, progress: bool = False
) -> Floats:
    """Features of every picture, prepared as for the network: float64 N x features."""
    silent = not (progress and sys.stderr.isatty())
    rows = [
        texture.features(texture.content(dataset.read(record), preprocessing))
        for record in tqdm(dataset.records, desc="texture", disable=silent)
    ]
    return np.stack(rows)


def logits_of(model: Pipeline, features: Floats) -> Floats:
    """Scores of a fitted pipeline as logits in class order: float64 N x 3.

    Margins where the classifier has no probabilities (SVM), else logarithms of probabilities.
    """
    if hasattr(model, "predict_proba"):
        own = np.log(np.maximum(model.predict_proba(features), _FLOOR))
    else:
        own = np.asarray(model.decision_function(features), dtype=np.float64)
        if own.ndim == 1:
            own = np.stack([-own, own], axis=1)
    logits = np.full((len(features), len(CLASSES)), _ABSENT)
    logits[:, model.classes_] = own
    return logits


def choose(
    comparator: Comparator, features: Floats, targets: Indices, split: Split
) -> Mapping[str, Any]:
    """The settings with the least log loss on the validation part, fitted on the rest."""
    if len(comparator.settings) == 1 or len(split.validation) == 0:
        return comparator.settings[0]
    weights = group_weights(split.grouping.groups[split.validation])
    own = targets[split.validation]

    def loss(settings: Mapping[str, Any]) -> float:
        model = comparator.build(settings).fit(features[split.train], targets[split.train])
        logits = logits_of(model, features[split.validation])
        return log_loss(softmax(logits, fit_temperature(logits, own, weights)), own, weights)

    return min(comparator.settings, key=loss)


def out_of_fold(
    comparator: Comparator,
    dataset: Dataset,
    features: Floats,
    splits: Sequence[Split],
) -> tuple[OutOfFold, list[Mapping[str, Any]]]:
    """Logits of every picture by a classifier that saw nothing of its group, and the settings.

    Raises :class:`DatasetError` when the training folds of a fold lack malignant pictures or
    others.
    """
    targets = np.array([r.target for r in dataset.records], dtype=np.int64)
    order = np.concatenate([s.held_out for s in splits])
    logits, settings = [], []
    for split in splits:
        training = np.sort(np.concatenate([split.train, split.validation]))
        for part in (split.train, training):
            if CLASSES.index("malignant") not in targets[part] or len(set(targets[part])) < 2:
                raise DatasetError("a fold leaves no malignant pictures or no others to train on")
        chosen = choose(comparator, features, targets, split)
        model = comparator.build(chosen).fit(features[training], targets[training])
        logits.append(logits_of(model, features[split.held_out]))
        settings.append(chosen)
    records = [dataset.records[i] for i in order.tolist()]
    found = OutOfFold(
        files=tuple(r.file for r in records),
        sha256=tuple(r.sha256 for r in records),
        logits=np.concatenate(logits),
        targets=targets[order],
        folds=np.repeat(np.arange(len(splits)), [len(s.held_out) for s in splits]),
        groups=splits[0].grouping.groups[order],
        identity={"comparator": comparator.title},
    )
    return found, settings


def evaluate_scores(found: OutOfFold, dataset: Dataset, *, bootstraps: int) -> dict[str, Any]:
    """The evaluation JSON of out-of-fold logits, calibrated on the other folds."""
    records = records_of(found, dataset)
    try:
        scored, thresholds = cross_fitted(found, records, TARGET_SENSITIVITY)
    except ValueError as error:
        raise DatasetError(f"the folds cannot be calibrated: {error}") from None
    groups = group_records(records).groups
    areas = lesion_areas(dataset, records)
    return evaluation(scored, thresholds, groups, bootstraps=bootstraps, areas=areas)


def same_folds(network: OutOfFold, own: OutOfFold) -> bool:
    """Whether both hold the same pictures in the same folds."""
    mine = dict(zip(own.sha256, own.folds.tolist(), strict=True))
    theirs = dict(zip(network.sha256, network.folds.tolist(), strict=True))
    return mine == theirs


def compare(
    dataset: Dataset,
    *,
    folds: int = 5,
    seed: int = 0,
    bootstraps: int = 1000,
    network: OutOfFold | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Measure every comparator, and the network where its out-of-fold logits are given."""
    preprocessing = PREPROCESSING["bcweb"]
    splits = [split_records(dataset.records, folds=folds, seed=seed, fold=f) for f in range(folds)]
    features = texture_features(dataset, preprocessing, progress=progress)
    found: dict[str, Any] = {}
    for name, comparator in COMPARATORS.items():
        scores, settings = out_of_fold(comparator, dataset, features, splits)
        result = evaluate_scores(scores, dataset, bootstraps=bootstraps)
        found[name] = {"title": comparator.title, "settings": list(map(dict, settings)), **result}
    if network is not None:
        result = evaluate_scores(network, dataset, bootstraps=bootstraps)
        alike = same_folds(network, scores)
        found[NETWORK] = {"title": "ResNet-50, this package", "same_folds": alike, **result}
    return {
        "data": {"name": dataset.root.name, "digest": dataset.digest()},
        "folds": folds,
        "seed": seed,
        "grouping_rule": RULE,
        "protocol": PROTOCOL,
        "preprocessing": preprocessing.to_dict(),
        "features": list(texture.NAMES),
        "comparators": found,
    }


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """One line a comparator, with 95 % intervals of the main figures."""
    titles = {name: str(part.get("title", name)) for name, part in results.items()}
    width = max(map(len, titles.values()))
    wide = [20 if interval else max(6, len(head)) for _, head, interval in _COLUMNS]
    heads = [f"{head:{w}}" for (_, head, _), w in zip(_COLUMNS, wide, strict=True)]
    lines = ["  ".join(["".ljust(width), *heads]).rstrip()]
    for name, part in results.items():
        cells = [
            f"{_cell(part, key, interval):{w}}"
            for (key, _, interval), w in zip(_COLUMNS, wide, strict=True)
        ]
        lines.append("  ".join([titles[name].ljust(width), *cells]).rstrip())
    return "\n".join(lines)


def _cell(part: Mapping[str, Any], key: str, interval: bool) -> str:
    if part[key] is None:
        return "-"
    bounds = part["ci95"].get(key)
    if not interval or bounds is None:
        return f"{part[key]:.3f}"
    return f"{part[key]:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def tables(result: Mapping[str, Any]) -> str:
    """The table over all pictures, then one for each source where there are several."""
    found = result["comparators"]
    first = next(iter(found.values()))
    lines = [f"all: {first['n']} pictures in {first['n_groups']} groups", table(found)]
    sources = first["per_source"]
    for source in sources if len(sources) > 1 else ():
        part = {
            name: {"title": whole["title"], **whole["per_source"][source]}
            for name, whole in found.items()
            if source in whole["per_source"]
        }
        lines += ["", f"{source}: {sources[source]['n']} pictures", table(part)]
    return "\n".join([*lines, "", PROTOCOL, f"Groups: {result['grouping_rule']}."])


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.baselines --data DIR [--folds 5] [--oof NPZ] [--json OUT]``."""
    parser = argparse.ArgumentParser(prog="python -m ml.baselines", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures as JSON")
    parser.add_argument(
        "--oof", type=Path, metavar="NPZ", help="the network's scores, from ml.crossval --out"
    )
    parser.add_argument("--limit-images", type=int, metavar="N")
    parser.add_argument("--bootstraps", type=int, default=1000, metavar="N")
    arguments = parser.parse_args(argv)
    check_counts(arguments)
    if arguments.folds < 2:
        raise UsageError("--folds must be at least 2")
    if arguments.oof and arguments.limit_images:
        raise UsageError("--oof does not go with --limit-images")
    network = OutOfFold.load(arguments.oof) if arguments.oof else None
    dataset = limit_records(
        read_dataset(arguments.data), arguments.limit_images, seed=arguments.seed
    )
    result = compare(
        dataset,
        folds=arguments.folds,
        seed=arguments.seed,
        bootstraps=arguments.bootstraps,
        network=network,
        progress=True,
    )
    if network is not None and not result["comparators"][NETWORK]["same_folds"]:
        print("note: the network was measured on other folds or pictures", file=sys.stderr)
    if arguments.json:
        text = json.dumps(result, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        registry.write_atomic(arguments.json, text.encode())
    print(tables(result))
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
