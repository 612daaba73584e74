"""Frozen, typed settings of preprocessing recipes and training runs."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Final, Literal

CLASSES: Final = ("benign", "malignant", "normal")
MALIGNANT: Final = CLASSES.index("malignant")

RecipeName = Literal["bcweb", "paper"]


@dataclass(frozen=True)
class AugmentConfig:
    """Ranges of the random changes to a training image. Zero switches one off.

    ``rotate`` is in degrees, ``zoom``, ``shift`` and ``aspect`` are fractions, ``gain`` is the
    spread of the exponent of a gamma curve, ``contrast`` and ``brightness`` are fractions of the
    full range, ``speckle`` is the largest standard deviation of multiplicative noise,
    ``blur`` the largest Gaussian radius in pixels; ``shadow``, ``marks`` and ``erase`` are
    probabilities.
    """

    flip: float = 0.5
    rotate: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    aspect: float = 0.0
    gain: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    speckle: float = 0.0
    blur: float = 0.0
    shadow: float = 0.0
    marks: float = 0.0
    erase: float = 0.0


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the outcome of a training run, apart from the data.

    ``frozen`` names modules of the network that keep their initial weights; those in ``held`` keep
    them until the inputs have the full size and learn from then on, their BatchNorm always with the
    initial statistics: while fresh layers settle, their gradients would only shake pretrained ones,
    and an epoch costs a third less (gradual unfreezing; Howard and Ruder 2018, section 3.3).
    ``head_lr`` is the rate of layers that start fresh, ``lr`` that of the rest.
    ``label_smoothing`` and ``dropout`` regularise. ``ema`` is the decay per step of the averaged
    weights (0: none).

    ``stages`` are (epochs, side in pixels) that come first, at smaller inputs, where an epoch
    costs a fraction; the remaining epochs run at ``size`` and let weights and BatchNorm settle
    there (progressive resizing; Tan and Le 2021, section 4). ``class_weights`` multiply the loss of
    each class, in the order of ``CLASSES`` (empty: all 1). ``one_per_group`` makes an epoch of one
    picture of each group, another one each time: views and near-duplicates of one lesion count
    once, as they do in calibration. ``attention`` is the weight of a
    second loss on pictures with a lesion mask: cross-entropy between the mask's share in each
    cell and the softmax over the cells of the true class's activation map. ``choose`` takes the
    weights of the best validation epoch or of the last.
    """

    recipe: RecipeName = "bcweb"
    seed: int = 0
    epochs: int = 20
    batch_size: int = 16
    optimizer: Literal["adam", "adamw"] = "adamw"
    lr: float = 1e-4
    head_lr: float = 5e-4
    weight_decay: float = 0.05
    warmup_epochs: float = 1.0
    schedule: Literal["cosine", "constant"] = "cosine"
    label_smoothing: float = 0.05
    dropout: float = 0.2
    ema: float = 0.0
    frozen: tuple[str, ...] = ()
    held: tuple[str, ...] = ()
    frozen_batchnorm: bool = False
    size: int = 224
    stages: tuple[tuple[int, int], ...] = ()
    class_weights: tuple[float, ...] = ()
    one_per_group: bool = False
    attention: float = 0.0
    choose: Literal["best", "last"] = "last"
    folds: int = 5
    target_sensitivity: float = 0.95
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        sides = (self.size, *(side for _, side in self.stages))
        if any(side < 32 or side % 32 for side in sides):
            raise ValueError(f"input sides must be multiples of 32, not {sides}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready dict, the inverse of :meth:`from_dict`."""
        return json.loads(json.dumps(dataclasses.asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrainConfig:
        """Rebuild from :meth:`to_dict`. Raises ``TypeError`` on unknown keys."""
        values = dict(data)
        values["augment"] = AugmentConfig(**values["augment"])
        values["frozen"] = tuple(values["frozen"])
        values["held"] = tuple(values.get("held", ()))
        values["class_weights"] = tuple(values.get("class_weights", ()))
        values["stages"] = tuple((int(n), int(side)) for n, side in values["stages"])
        return cls(**values)

    def size_at(self, epoch: int) -> int:
        """Side of the training input in an epoch, counted from 0."""
        for epochs, side in self.stages:
            if epoch < epochs:
                return side
            epoch -= epochs
        return self.size

    def holds_at(self, epoch: int) -> bool:
        """Whether the ``held`` modules keep their weights in an epoch, counted from 0."""
        return self.size_at(epoch) != self.size

    def changed(self, **values: Any) -> TrainConfig:
        """A copy with other values; None keeps the old one.

        ``stages`` follow other ``epochs`` in proportion, leaving the last epoch to the full size,
        and those not smaller than another ``size`` are dropped.
        """
        made = dataclasses.replace(self, **{k: v for k, v in values.items() if v is not None})
        share = made.epochs / self.epochs
        stages: list[tuple[int, int]] = []
        left = made.epochs - 1
        for epochs, side in made.stages:
            taken = min(left, max(1, round(epochs * share)))
            if side < made.size and taken > 0:
                stages.append((taken, side))
                left -= taken
        return dataclasses.replace(made, stages=tuple(stages))

    def digest(self) -> str:
        """Short hash: two runs with the same one and the same data end in the same weights."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


PAPER = TrainConfig(
    recipe="paper",
    epochs=15,
    batch_size=32,
    optimizer="adam",
    lr=1e-4,
    head_lr=1e-4,
    weight_decay=0.0,
    warmup_epochs=0.0,
    schedule="constant",
    label_smoothing=0.0,
    dropout=0.0,
    augment=AugmentConfig(flip=0.5, rotate=15.0, zoom=0.1),
)
"""The seed paper's protocol: 224 x 224 squashed, flips, rotation and zoom, Adam, 15 epochs."""

BCWEB = TrainConfig(
    recipe="bcweb",
    epochs=12,
    batch_size=16,
    lr=1.5e-4,
    head_lr=1e-3,
    ema=0.99,
    held=("conv1", "bn1", "layer1", "layer2"),
    stages=((8, 128), (2, 160)),
    one_per_group=True,
    # One picture in fourteen is normal; left alone, the network learns them last.
    class_weights=(1.0, 1.0, 2.0),
    attention=0.2,
    augment=AugmentConfig(
        flip=0.5,
        rotate=12.0,
        zoom=0.15,
        shift=0.06,
        aspect=0.10,
        gain=0.25,
        contrast=0.15,
        brightness=0.08,
        speckle=0.12,
        blur=0.8,
        shadow=0.25,
        marks=0.25,
        erase=0.15,
    ),
)
"""Ours: pad to square, no vertical flip, small moves, and augmentation between scanners."""

RECIPES: Final[dict[RecipeName, TrainConfig]] = {"bcweb": BCWEB, "paper": PAPER}
