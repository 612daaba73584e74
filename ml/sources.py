"""The source of a picture told from its pixels: what a classifier could lean on instead."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from ml.calibrate import Floats, Indices
from ml.config import CLASSES
from ml.dataset import Dataset
from ml.inference import Predictor, label_for
from ml.metrics import auc
from ml.model import features
from ml.preprocessing import UInt8Image

_BATCH: Final = 8
_FOLDS: Final = 5
_FEWEST: Final = 10  # pictures of a class and source, below which no probe is trained
FACTS: Final = (
    "width, height, aspect, shares of black pixels, rows and columns, mean and spread of grey, "
    "share of coloured pixels"
)


def probe_sources(
    predictor: Predictor, dataset: Dataset, groups: Indices, shown: bool = False
) -> dict[str, Any]:
    """How well a linear probe tells the source among pictures of one class, by grouped folds.

    From the network's pooled features (2,048) and from simple facts of the picture
    (:data:`FACTS`). Only classes of which at least two sources have ten pictures.
    """
    sources = np.array([r.source for r in dataset.records])
    labels = np.array([r.label for r in dataset.records])
    found: dict[str, Any] = {}
    for label in CLASSES:
        names = [
            str(s)
            for s in np.unique(sources)
            if ((sources == s) & (labels == label)).sum() >= _FEWEST
        ]
        if len(names) < 2:
            continue
        own = np.flatnonzero((labels == label) & np.isin(sources, names))
        pictures = [dataset.read(dataset.records[i]) for i in own.tolist()]
        inputs = {
            "features": pooled(predictor, pictures, shown),
            "facts": np.stack([picture_facts(p) for p in pictures]),
        }
        figures = {k: tell_source(x, sources[own], groups[own]) for k, x in inputs.items()}
        chance = 1 / len(names)
        found[label] = {
            "n": {name: int((sources[own] == name).sum()) for name in names},
            "chance": chance,
            **figures,
            "sentence": (
                f"Among {label} pictures a linear probe tells the source "
                f"({', '.join(names)}) with a balanced accuracy of "
                f"{figures['features']['balanced_accuracy']:.2f} from the network's pooled "
                f"features and {figures['facts']['balanced_accuracy']:.2f} from simple facts of "
                f"the picture (chance: {chance:.2f})."
            ),
        }
    return {"facts": FACTS, "per_class": found}


def pooled(predictor: Predictor, pictures: Sequence[UInt8Image], shown: bool = False) -> Floats:
    """Spatial means of the last feature map, the head's input: float64 N x 2048."""
    network = predictor.model.network.eval()
    weight = next(network.parameters())
    rows = []
    for start in tqdm(range(0, len(pictures), _BATCH), desc="features / 8", disable=not shown):
        batch = pictures[start : start + _BATCH]
        tensors = np.stack([predictor.model.preprocessing.apply(p)[0] for p in batch])
        with torch.inference_mode():
            inputs = torch.from_numpy(tensors).to(weight.device, weight.dtype)
            maps = features(network, inputs)
            rows.append(maps.mean(dim=(2, 3)).float().cpu().numpy())
    return np.asarray(np.concatenate(rows), dtype=np.float64)


def picture_facts(image: UInt8Image) -> Floats:
    """Simple facts of a picture, uint8 HxWx3 -> float64 vector in the order of ``FACTS``."""
    height, width = image.shape[:2]
    grey = image.mean(axis=2)
    black = grey < 8
    spread = image.max(axis=2).astype(np.int16) - image.min(axis=2)
    return np.array(
        [
            width,
            height,
            width / height,
            black.mean(),
            (black.mean(axis=1) > 0.95).mean(),
            (black.mean(axis=0) > 0.95).mean(),
            grey.mean(),
            grey.std(),
            (spread > 20).mean(),
        ],
        dtype=np.float64,
    )


def tell_source(
    inputs: Floats, sources: npt.NDArray[np.str_], groups: Indices
) -> dict[str, float | None]:
    """Out-of-fold balanced accuracy, and AUC of two sources: inputs float64 N x D, rest N.

    Logistic regression on standardised inputs (scikit-learn, L2, C = 0.1), folds stratified by
    source that keep groups whole.
    """
    names = np.unique(sources)
    answered = np.empty(len(sources), dtype=sources.dtype)
    score = np.zeros(len(sources))
    fewest = min(len(np.unique(groups[sources == name])) for name in names)
    folds = StratifiedGroupKFold(min(_FOLDS, fewest), shuffle=True, random_state=0)
    for train, test in folds.split(inputs, sources, groups):
        probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
        with warnings.catch_warnings():
            # A probe that is stopped early is still a probe; its folds are what counts.
            warnings.simplefilter("ignore", ConvergenceWarning)
            probe.fit(inputs[train], sources[train])
        answered[test] = probe.predict(inputs[test])
        score[test] = probe.predict_proba(inputs[test])[:, -1]
    recalls = [float((answered[sources == name] == name).mean()) for name in names]
    two = auc(sources == names[-1], score) if len(names) == 2 else None
    return {"balanced_accuracy": float(np.mean(recalls)), "auc": two}


def normal_scores(dataset: Dataset, scores: Floats, threshold: float) -> dict[str, Any]:
    """The normal score of pictures with a lesion, by source: those with and without normals."""
    records = dataset.records
    with_normals = {r.source for r in records if r.label == "normal"}
    labels = np.array([label_for(row, threshold) for row in scores])
    normal = CLASSES.index("normal")
    found: dict[str, Any] = {}
    for source in sorted({r.source for r in records}):
        own = np.array([r.source == source and r.label != "normal" for r in records])
        if not own.any():
            continue
        mean, share = float(scores[own, normal].mean()), float((labels[own] == "normal").mean())
        has = "has" if source in with_normals else "has no"
        found[source] = {
            "n": int(own.sum()),
            "has_normals": source in with_normals,
            "mean_normal_score": mean,
            "called_normal": share,
            "sentence": f"{source} {has} normal pictures here: its {int(own.sum())} pictures with "
            f"a lesion have a mean normal score of {mean:.3f}, and {100 * share:.1f} % of them "
            "are called normal at the operating point.",
        }
    return found
