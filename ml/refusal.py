"""Telling, before a label is given, that a picture is no B-mode breast ultrasound.

Two parts. **Facts of the picture** (``ml.picture_facts``) against fixed limits: an empty frame,
colour laid over grey, two views side by side. **Texture**: the spatial mean of layer2's map, which
the forward pass gives anyway, under its training pictures' mean and principal components; a
logistic model over the components, the distance among them (Mahalanobis) and the distance from
them (reconstruction error) says how far the picture is from ultrasounds on the way to other
things. The features before the head are not used: fine-tuned for lesions, they confuse another
hospital's ultrasounds with photographs, where those of layer2 do not.

``python -m ml.refusal fit|test``: see ``ml.refusal_fit``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ml.picture_facts import PictureFacts, picture_facts
from ml.preprocessing import UInt8Image

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float32]

SENTENCES: Final = {
    "not_ultrasound": "This does not look like a B-mode breast ultrasound. "
    "Check that the right picture was sent.",
    "empty_frame": "The picture is empty or nearly so. Send a frame that shows the breast.",
    "colour_overlay": "Colour lies over the picture, as in colour Doppler or elastography. "
    "Send the plain B-mode picture.",
    "dual_view": "The picture shows two views side by side. "
    "Send each view as a picture of its own.",
}
"""Every refusal's stable code, and what the radiologist reads: what is wrong, and what to do."""

FORMAT: Final = 1
_PREFIX: Final = "refusal."
_CLIP: Final = 6.0  # a component further out than this says no more
_FLOOR: Final = 0.1  # keeps the logarithms of the two distances finite
_DISTANCE_WEIGHT: Final = 3.0  # brings the logarithms to the range of the components
_SCALE_SHARE: Final = 0.05  # of the channels' mean deviation, added to each one's
_SCALE_LEAST: Final = 1e-6
_SPREAD_LEAST: Final = 0.01  # variance added to each component's
_BEYOND_LEAST: Final = 1e-3  # where the components hold all there is, rounding is no distance
RULE: Final = (
    "refused when: the grey levels' standard deviation is below `spread` or the lit share below "
    "`lit` (empty frame); a dark band parts the middle or a seam is above `seam` (dual view); "
    "the share of coloured pixels is above `coloured`; or the texture score is above `texture`, "
    "where 0 is the edge of the training ultrasounds and 1 that of other pictures"
)


@dataclass(frozen=True)
class Refusal:
    """Why a picture gets no answer: a code of :data:`SENTENCES`, and its sentence."""

    code: str
    sentence: str


def refusal(code: str) -> Refusal:
    """The refusal with this code."""
    return Refusal(code, SENTENCES[code])


@dataclass(frozen=True)
class Limits:
    """What a picture must keep to; see :data:`RULE` and ``ml.picture_facts.PictureFacts``.

    From both sources of the training data: no ultrasound there has a spread below 15, a lit
    share below 0.34, a dark gap, a seam above 2.6, or a coloured share above 0.004 (the
    highest are five pictures with real colour Doppler). ``certain`` is the texture score from
    which on a picture is called no ultrasound whatever else is wrong with it.
    """

    spread: float = 6.0
    lit: float = 0.10
    coloured: float = 0.006
    gap: float = 0.0
    seam: float = 3.0
    texture: float = 0.65
    certain: float = 1.0


@dataclass(frozen=True)
class Detector:
    """The check of one model file: frozen, small (70 kB), deterministic.

    ``mean`` and ``scale`` (float32 C) standardise the square roots of the texture's C channels;
    ``basis`` (float32 C x K, every value one that float16 holds) are their principal components,
    ``spread`` (float32 K) the components' standard deviations; ``weights`` (float32 K + 3) are
    those of the K components, the two distances and the constant.
    """

    mean: Floats
    scale: Floats
    basis: Floats
    spread: Floats
    weights: Floats
    limits: Limits = Limits()
    figures: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def check(self, image: UInt8Image, texture: Floats) -> Refusal | None:
        """Why this picture should get no answer, or None.

        ``image``: uint8 HxWx3, the whole decoded picture, not the network's input. ``texture``:
        float32 C, the spatial mean of layer2's map (``ml.engine.Outputs.texture``).
        """
        return self.verdict(picture_facts(image), float(self.scores(texture[None])[0]))

    def verdict(self, facts: PictureFacts, score: float) -> Refusal | None:
        """:meth:`check` from the facts and the texture score; NaN scores are refused."""
        limits = self.limits
        if facts.spread < limits.spread or facts.lit < limits.lit:
            return refusal("empty_frame")
        if not score < limits.certain:
            return refusal("not_ultrasound")
        if facts.gap > limits.gap or facts.seam > limits.seam:
            return refusal("dual_view")
        if facts.coloured > limits.coloured:
            return refusal("colour_overlay")
        return None if score <= limits.texture else refusal("not_ultrasound")

    def scores(self, textures: Floats) -> npt.NDArray[np.float64]:
        """Texture scores: float32 N x C -> float64 N; about 0 and less for ultrasounds."""
        inside = self.inputs(textures) @ self.weights[:-1].astype(np.float64)
        return np.asarray(inside + self.weights[-1], dtype=np.float64)

    def inputs(self, textures: Floats) -> npt.NDArray[np.float64]:
        """What the logistic model sees: float32 N x C -> float64 N x (K + 2)."""
        units, squares = self._apart(textures)
        logs = _DISTANCE_WEIGHT * np.log(squares + _FLOOR)
        return np.concatenate([np.clip(units, -_CLIP, _CLIP), logs], axis=1)

    def distances(self, textures: Floats) -> npt.NDArray[np.float64]:
        """How far pictures lie from the training ultrasounds: float32 N x C -> float64 N, >= 0.

        The root of the mean of two squares, each 1 on average over those ultrasounds: the
        distance among the components (Mahalanobis) and that beyond them (reconstruction error).
        Unlike the score it knows nothing of other pictures, so it shows a change of scanner,
        preset or patients that the refusal check rightly lets pass.
        """
        squares = self._apart(textures)[1]
        return np.asarray(np.sqrt((squares[:, 0] + squares[:, 1] / self._beyond()) / 2))

    def _apart(self, textures: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Components in units of their spread, N x K, and the two squared distances, N x 2."""
        roots = np.sqrt(np.maximum(textures, 0)).astype(np.float64)
        standard = (roots - self.mean) / self.scale
        parts = standard @ self.basis
        beyond = np.maximum((standard**2).sum(axis=1) - (parts**2).sum(axis=1), 0)
        units = parts / self.spread
        squares = np.stack([(units**2).mean(axis=1), beyond / standard.shape[1]], axis=1)
        return units, squares

    def _beyond(self) -> float:
        """Mean of the second squared distance over the ultrasounds of the fit.

        Not kept in the file, and worked out from what is: the variance of all standardised
        channels less that of the components (the inverse of :func:`_without_weights`).
        """
        scale = self.scale.astype(np.float64)
        mean = (scale.mean() - _SCALE_LEAST) / (1 + _SCALE_SHARE)
        deviations = np.maximum(scale - _SCALE_SHARE * mean - _SCALE_LEAST, 0)
        total = float(((deviations / scale) ** 2).sum())
        kept = float((self.spread.astype(np.float64) ** 2 - _SPREAD_LEAST).sum())
        return max((total - kept) / scale.size, _BEYOND_LEAST)

    def to_tensors(self) -> dict[str, Tensor]:
        """What goes into the model file, under names that begin with ``refusal.``."""
        import torch

        names = ("mean", "scale", "basis", "spread", "weights")
        return {_PREFIX + name: torch.from_numpy(getattr(self, name).copy()) for name in names}

    def to_card(self) -> dict[str, Any]:
        """The card's entry ``refusal``: limits, the stated rule, and the figures of the fit."""
        return {
            "format": FORMAT,
            "rule": RULE,
            "codes": sorted(SENTENCES),
            "limits": asdict(self.limits),
            "components": int(self.basis.shape[1]),
            "figures": dict(self.figures),
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> Detector:
        """The inverse of :meth:`to_tensors` and :meth:`to_card`.

        Raises ``ValueError`` when something is missing, of another shape, or of another format.
        """
        if card.get("format") != FORMAT:
            raise ValueError(f"its refusal check has format {card.get('format')!r}")
        try:
            given = {
                name: tensors[_PREFIX + name].float().numpy().astype(np.float32)
                for name in ("mean", "scale", "basis", "spread", "weights")
            }
            limits = Limits(**{name: float(v) for name, v in card["limits"].items()})
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"its refusal check is not understood ({error})") from None
        channels, components = given["mean"].size, given["spread"].size
        shapes = {
            "mean": (channels,),
            "scale": (channels,),
            "basis": (channels, components),
            "spread": (components,),
            "weights": (components + 3,),
        }
        wrong = [name for name, shape in shapes.items() if given[name].shape != shape]
        if wrong or not all(np.isfinite(value).all() for value in given.values()):
            raise ValueError(f"its refusal check is damaged ({', '.join(wrong) or 'not finite'})")
        return cls(**given, limits=limits, figures=card.get("figures", {}))


def fit(
    ultrasounds: Floats,
    others: Floats,
    *,
    components: int = 32,
    strength: float = 0.001,
    limits: Limits | None = None,
) -> Detector:
    """Fit the texture part: float32 N x C of ultrasounds, float32 M x C of other pictures.

    ``strength`` is the logistic model's C (small: strongly regularised); both classes weigh the
    same. The score is then shifted and stretched so that 0 is the 99.8th percentile of the
    ultrasounds and 1 the 2nd of the others: the limit lies between them, away from both, so that
    an unknown scanner has room. Where the two overlap, 1 is one logit above 0. Deterministic.
    """
    from sklearn.linear_model import LogisticRegression

    blank = _without_weights(ultrasounds, components)
    seen, unseen = blank.inputs(ultrasounds), blank.inputs(others)
    model = LogisticRegression(C=strength, max_iter=5000, class_weight="balanced")
    model.fit(np.concatenate([seen, unseen]), [0] * len(seen) + [1] * len(unseen))
    low = float(np.quantile(model.decision_function(seen), 0.998))
    high = float(np.quantile(model.decision_function(unseen), 0.02))
    unit = high - low if high > low else 1.0
    weights = np.append(model.coef_[0], model.intercept_[0] - low) / unit
    return replace(blank, weights=weights.astype(np.float32), limits=limits or Limits())


def _without_weights(ultrasounds: Floats, components: int) -> Detector:
    """Mean, scale and principal components of ultrasounds' textures; the weights are 0."""
    roots = np.sqrt(np.maximum(ultrasounds, 0)).astype(np.float64)
    mean, scale = roots.mean(axis=0), roots.std(axis=0)
    # A channel that hardly moves among ultrasounds must not dominate the distance from them.
    scale = scale + _SCALE_SHARE * scale.mean() + _SCALE_LEAST
    standard = (roots - mean) / scale
    values, vectors = np.linalg.eigh(standard.T @ standard / len(standard))
    # Few pictures span few directions: more would fit those pictures alone.
    order = np.argsort(values)[::-1][: max(1, min(components, len(standard) // 10))]
    # Signs of eigenvectors are arbitrary: the largest entry is made positive.
    basis = vectors[:, order]
    basis = basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])])
    return Detector(
        mean=mean.astype(np.float32),
        scale=scale.astype(np.float32),
        basis=basis.astype(np.float16).astype(np.float32),
        spread=np.sqrt(np.maximum(values[order], 0) + _SPREAD_LEAST).astype(np.float32),
        weights=np.zeros(len(order) + 3, dtype=np.float32),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m ml.refusal fit|test``: see :func:`ml.refusal_fit.main`."""
    from ml.refusal_fit import main as run

    return int(run(argv))


if __name__ == "__main__":
    from ml.cli import run_cli

    sys.exit(run_cli(main))
