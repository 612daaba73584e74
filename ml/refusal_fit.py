"""Fit and test the refusal check: ``python -m ml.refusal fit|test --model FILE --data DIR``."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from ml import registry
from ml.cli import check_counts
from ml.dataset import Dataset, read_dataset
from ml.duplicates import group_records
from ml.errors import DatasetError, ModelFileError
from ml.model import early_features
from ml.negative_sources import (
    OVERLAID,
    overlaid,
    pydicom_negatives,
    skimage_negatives,
    sklearn_negatives,
)
from ml.negatives import Negative, code_negatives
from ml.picture_facts import PictureFacts, picture_facts
from ml.preprocessing import UInt8Image
from ml.refusal import Detector, Floats, fit
from ml.registry import LoadedModel

FOLDS: Final = 5
OVERLAID_PER_SOURCE: Final = 20
_BATCH: Final = 16
LEAST: Final = 40
HOW: Final = (
    "negatives: judged by a check fitted without any picture of their source; those painted on "
    "or joined from ultrasounds never take part in a fit, and are judged without the folds "
    "of their ultrasounds. Ultrasounds: grouped 5-fold, and by a check fitted on the other sources."
)


@dataclass(frozen=True)
class Measured:
    """Pictures as the check sees them: textures float32 N x C, and N facts."""

    textures: Floats
    facts: tuple[PictureFacts, ...]

    def refused(self, detector: Detector, which: npt.NDArray[np.intp]) -> dict[int, str]:
        """Codes of those refused among the pictures with these indices."""
        if not which.size:
            return {}
        found = {}
        for index, score in zip(which, detector.scores(self.textures[which]), strict=True):
            verdict = detector.verdict(self.facts[int(index)], float(score))
            if verdict is not None:
                found[int(index)] = verdict.code
        return found


@dataclass(frozen=True)
class Kinds:
    """Negatives without their pixels: kind, source, and the indices of the ultrasounds in it."""

    kind: tuple[str, ...]
    source: tuple[str, ...]
    base: tuple[tuple[int, ...], ...]
    measured: Measured

    @property
    def fits(self) -> npt.NDArray[np.bool_]:
        """Which take part in a fit: not those that show an ultrasound."""
        return np.array([source != OVERLAID for source in self.source])


def measure(model: LoadedModel, pictures: Iterable[UInt8Image], *, show: str = "") -> Measured:
    """Texture and facts of pictures, uint8 HxWx3 each; half a forward pass, then no picture kept.

    ``show`` names the progress bar, which appears in a terminal only.
    """
    network = model.network
    device = next(network.parameters()).device
    textures: list[Floats] = []
    facts: list[PictureFacts] = []
    waiting: list[npt.NDArray[np.float32]] = []

    def run() -> None:
        batch = torch.from_numpy(np.stack(waiting)).to(device, memory_format=torch.channels_last)
        with torch.inference_mode():
            textures.append(early_features(network, batch).mean(dim=(2, 3)).cpu().numpy())
        waiting.clear()

    quiet = not show or not sys.stderr.isatty()
    for picture in tqdm(pictures, desc=show, disable=quiet, unit="picture"):
        facts.append(picture_facts(picture))
        waiting.append(model.preprocessing.apply(picture)[0])
        if len(waiting) == _BATCH:
            run()
    if waiting:
        run()
    return Measured(np.concatenate(textures), tuple(facts))


def measure_negatives(
    model: LoadedModel, dataset: Dataset, *, seed: int, each: int, show: bool
) -> Kinds:
    """All negatives: ``each`` of every code-made kind, the packages' files, and overlaid ones."""
    kind: list[str] = []
    source: list[str] = []
    base: list[tuple[int, ...]] = []
    chosen = _chosen(dataset, seed)

    def pictures() -> Iterable[UInt8Image]:
        plain = chain(
            code_negatives(seed, each),
            skimage_negatives(),
            sklearn_negatives(),
            pydicom_negatives(),
        )
        for negative in plain:
            yield note(negative, ())
        for start in range(0, len(chosen), OVERLAID_PER_SOURCE):
            part = chosen[start : start + OVERLAID_PER_SOURCE]
            shown = [dataset.read(dataset.records[i]) for i in part]
            for number, negative in enumerate(overlaid(shown, seed)):
                yield note(negative, shown_in(part, number))

    def note(negative: Negative, under: tuple[int, ...]) -> UInt8Image:
        kind.append(negative.kind)
        source.append(negative.source)
        base.append(under)
        return negative.image

    measured = measure(model, pictures(), show="negatives" if show else "")
    return Kinds(tuple(kind), tuple(source), tuple(base), measured)


def shown_in(part: Sequence[int], number: int) -> tuple[int, ...]:
    """Which of the ultrasounds ``part`` the ``number``-th picture of ``overlaid`` shows.

    Each third picture is a dual view: it joins one with the next.
    """
    first, kind = divmod(number, 3)
    own = (part[first],)
    return (*own, part[(first + 1) % len(part)]) if kind == 2 else own


def _chosen(dataset: Dataset, seed: int) -> list[int]:
    """Ultrasounds to paint on: as many from each source, none where there are fewer than two."""
    rng = np.random.default_rng([seed, 3])
    chosen: list[int] = []
    for name in sorted({r.source for r in dataset.records}):
        own = [i for i, r in enumerate(dataset.records) if r.source == name]
        picked = rng.permutation(own)[:OVERLAID_PER_SOURCE].tolist()
        chosen += picked if len(picked) == OVERLAID_PER_SOURCE else []
    return chosen


def fit_detector(
    model: LoadedModel, dataset: Dataset, *, seed: int = 0, each: int = 8, show: bool = False
) -> tuple[Detector, dict[str, Any]]:
    """The check for a model from its training data, and its figures on what each fit never saw.

    The check that is returned is fitted on all; the figures, which it carries too, come from
    fits that left out what they are measured on (see :data:`HOW`). Half a forward pass for each
    picture. Raises ``DatasetError`` when there are fewer than 40 pictures.
    """
    if len(dataset.records) < LEAST:
        raise DatasetError(f"a refusal check needs {LEAST} pictures, not {len(dataset.records)}")
    pictures = (dataset.read(record) for record in dataset.records)
    seen = measure(model, pictures, show="ultrasounds" if show else "")
    others = measure_negatives(model, dataset, seed=seed, each=each, show=show)
    figures = cross_fitted(dataset, seen, others, seed=seed)
    detector = fit(seen.textures, others.measured.textures[others.fits])
    return replace(detector, figures=figures), figures


def cross_fitted(dataset: Dataset, seen: Measured, others: Kinds, *, seed: int) -> dict[str, Any]:
    """Figures of the check, each picture judged by a fit that left it out (see :data:`HOW`)."""
    negative, fits = others.measured, others.fits
    sources = np.array(others.source)
    codes: dict[int, str] = {}
    for name in sorted(set(sources[fits].tolist())):
        detector = fit(seen.textures, negative.textures[fits & (sources != name)])
        codes |= negative.refused(detector, np.flatnonzero(sources == name))
    fold = _folds(dataset, seed)
    apart = np.zeros(len(seen.textures))
    within = [frozenset(fold[list(base)].tolist()) for base in others.base]
    wrong: dict[int, str] = {}
    for k in range(FOLDS):
        detector = fit(seen.textures[fold != k], negative.textures[fits])
        wrong |= seen.refused(detector, np.flatnonzero(fold == k))
        if (fold == k).any():
            apart[fold == k] = detector.distances(seen.textures[fold == k])
    for folds in sorted(set(within) - {frozenset()}, key=sorted):
        detector = fit(seen.textures[~np.isin(fold, list(folds))], negative.textures[fits])
        painted = np.array([i for i, own in enumerate(within) if own == folds], dtype=np.intp)
        codes |= negative.refused(detector, painted)
    return {
        "how": HOW,
        "negatives": negative_figures(others, codes),
        "ultrasounds": ultrasound_figures(dataset, wrong),
        "ultrasounds_of_another_source": _across(dataset, seen, negative.textures[fits]),
        "distance": distance_figures(apart),
    }


def _folds(dataset: Dataset, seed: int) -> npt.NDArray[np.intp]:
    """A fold for each picture, 0..4; groups of patients and near-duplicates stay together."""
    groups = np.unique(group_records(dataset.records).groups, return_inverse=True)[1]
    order = np.random.default_rng([seed, 5]).permutation(int(groups.max()) + 1)
    return np.asarray(order[groups] % FOLDS, dtype=np.intp)


def _across(dataset: Dataset, seen: Measured, negatives: Floats) -> dict[str, Any]:
    """Wrongly refused by source, judged by a fit on the other sources' ultrasounds alone."""
    sources = np.array([r.source for r in dataset.records])
    names = sorted(set(sources.tolist()))
    found = {}
    for name in names if len(names) > 1 else []:
        if (sources != name).sum() < LEAST:
            continue
        detector = fit(seen.textures[sources != name], negatives)
        own = np.flatnonzero(sources == name)
        found[name] = _rate(len(own), len(seen.refused(detector, own)))
    return found


def distance_figures(distances: npt.NDArray[np.float64]) -> dict[str, Any]:
    """What new pictures of the same kind are held against: deciles and the 95th percentile.

    ``distances``: float64 N, each from a fit that left its picture out.
    """
    return {
        "how": "feature distance of each training ultrasound to the others, grouped 5-fold",
        "n": len(distances),
        "deciles": [round(float(np.quantile(distances, tenth / 10)), 6) for tenth in range(1, 10)],
        "p95": round(float(np.quantile(distances, 0.95)), 6),
    }


def _rate(count: int, refused: int) -> dict[str, Any]:
    return {"n": count, "refused": refused, "rate": round(refused / max(count, 1), 4)}


def negative_figures(others: Kinds, codes: dict[int, str]) -> dict[str, Any]:
    """Refused negatives: all, by kind and by source, with the codes that were given."""
    hit = np.array([index in codes for index in range(len(others.kind))])
    table: dict[str, Any] = {**_rate(len(hit), int(hit.sum())), "codes": Counter(codes.values())}
    for title, names in (("by_kind", others.kind), ("by_source", others.source)):
        column = np.array(names)
        parts = {name: hit[column == name] for name in dict.fromkeys(names)}
        table[title] = {name: _rate(len(part), int(part.sum())) for name, part in parts.items()}
    return table


def ultrasound_figures(dataset: Dataset, codes: dict[int, str]) -> dict[str, Any]:
    """Wrongly refused ultrasounds: all, and by source and class, with the codes given."""
    names = [f"{r.source}/{r.label}" for r in dataset.records]
    sources = [r.source for r in dataset.records]
    table: dict[str, Any] = _rate(len(names), len(codes))
    table["codes"] = Counter(codes.values())
    for title, column in (("by_source", sources), ("by_class", names)):
        total = Counter(column)
        wrong = Counter(column[index] for index in codes)
        table[title] = {name: _rate(total[name], wrong[name]) for name in sorted(total)}
    return table


def test_detector(
    model: LoadedModel, dataset: Dataset, *, seed: int = 1, each: int = 8, show: bool = False
) -> dict[str, Any]:
    """What the check in a model file does with a data folder and with fresh negatives.

    Files of packages took part in its fit, and so did the pictures it was trained on; what it
    does with others stands in the figures of the fit, on the card. Raises ``ModelFileError``
    when the file has no check.
    """
    if model.detector is None:
        raise ModelFileError(f"{model.path.name} has no refusal check")
    pictures = (dataset.read(record) for record in dataset.records)
    seen = measure(model, pictures, show="ultrasounds" if show else "")
    others = measure_negatives(model, dataset, seed=seed, each=each, show=show)
    wrong = seen.refused(model.detector, np.arange(len(seen.facts)))
    codes = others.measured.refused(model.detector, np.arange(len(others.kind)))
    files = {dataset.records[i].file: code for i, code in sorted(wrong.items())}
    return {
        "how": "the check of the file as it is; code-made negatives by another seed. Pictures of "
        "packages took part in its fit, and so did the ultrasounds it was trained on: what it does "
        "with pictures it never saw stands on the card",
        "negatives": negative_figures(others, codes),
        "ultrasounds": {**ultrasound_figures(dataset, wrong), "files": files},
    }


def summary(figures: dict[str, Any]) -> str:
    """The figures as lines for a terminal."""
    lines = [figures["how"]]

    def add(title: str, rate: dict[str, Any]) -> None:
        lines.append(f"  {title:32} {rate['refused']:5} of {rate['n']:5}  {rate['rate']:.1%}")

    lines.append("refused, as they should be")
    for title, rate in (
        ("all negatives", figures["negatives"]),
        *figures["negatives"]["by_source"].items(),
        *figures["negatives"]["by_kind"].items(),
    ):
        add(title, rate)
    lines.append("refused wrongly")
    for title, rate in (
        ("all ultrasounds", figures["ultrasounds"]),
        *figures["ultrasounds"]["by_source"].items(),
        *figures["ultrasounds"]["by_class"].items(),
    ):
        add(title, rate)
    for name, rate in figures.get("ultrasounds_of_another_source", {}).items():
        add(f"{name}, fitted on the others", rate)
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """``fit`` puts a check into a model file, ``test`` tells what the check in it does."""
    parser = argparse.ArgumentParser(prog="python -m ml.refusal", description=__doc__)
    parser.add_argument("what", choices=("fit", "test"))
    parser.add_argument("--model", type=Path, metavar="FILE", help="default: the shipped one")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, metavar="FILE", help="fit: default the same file")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures there")
    parser.add_argument("--seed", type=int, help="of the code-made negatives")
    parser.add_argument("--each", type=int, default=8, metavar="N", help="of each kind by code")
    parser.add_argument("--threads", type=int, metavar="N")
    arguments = parser.parse_args(argv)
    check_counts(arguments)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    path = arguments.model or registry.shipped_path()
    model = registry.load_model(path)
    model.network.to(memory_format=torch.channels_last)
    dataset = read_dataset(arguments.data, classes_needed=1)
    if arguments.what == "fit":
        seed = arguments.seed or 0
        detector, figures = fit_detector(model, dataset, seed=seed, each=arguments.each, show=True)
        card = registry.add_detector(path, detector, arguments.out)
        print(f"{arguments.out or path}: sha256 {card['weights']['sha256'][:12]}")
    else:
        seed = 1 if arguments.seed is None else arguments.seed
        figures = test_detector(model, dataset, seed=seed, each=arguments.each, show=True)
    print(summary(figures))
    if arguments.json:
        text = json.dumps(figures, indent=2, ensure_ascii=False) + "\n"
        registry.write_atomic(arguments.json, text.encode())
    return 0
