"""The training loop: batches, optimiser, averaged weights, checkpoints."""

from __future__ import annotations

import io
import math
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet

from ml.augment import augment
from ml.calibrate import (
    Floats,
    Indices,
    fit_temperature,
    group_weights,
    log_loss,
    softmax,
)
from ml.config import TrainConfig
from ml.dataset import Dataset, Record
from ml.errors import ModelFileError, NonFiniteLossError, OutOfMemoryError, TrainingError
from ml.metrics import measure
from ml.model import features, forward_with_cam
from ml.preprocessing import Float32Image, Preprocessing, UInt8Image
from ml.registry import write_atomic

State = dict[str, Tensor]
_MARGIN = 8 / 7  # training canvases are this much larger than the input, for sharp zooming
CHOICE = "val_calibrated_loss"
"""The column of the history by which the best epoch is chosen: validation log loss after its own
temperature, each group counting once. Plain log loss punishes overconfidence that calibration
takes away."""
_NEUTRAL_THRESHOLD = 1 / 3  # for the per-epoch table, before an operating point is chosen


@dataclass(frozen=True)
class Progress:
    """One step of a running training, for progress bars and the service."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class Batch:
    """Images float32 Bx3xSxS, targets int64 B, lesions float32 B x S/32 x S/32.

    ``lesions`` hold each cell's share of the lesion: they sum to 1, or to 0 without a mask.
    """

    images: Tensor
    targets: Tensor
    lesions: Tensor


@dataclass(frozen=True)
class TrainingData:
    """Decoded pictures in memory: framed canvases for training, ready inputs for validation.

    ``masks`` are the lesion masks on the same canvases, None where there is none.
    ``validation_weights`` make the pictures of a group count as one. There may be no validation.
    """

    canvases: list[UInt8Image]
    masks: list[UInt8Image | None]
    targets: Indices
    validation: list[Float32Image]
    validation_targets: Indices
    validation_weights: Floats

    @classmethod
    def load(
        cls,
        dataset: Dataset,
        train: Sequence[Record],
        validation: Sequence[Record],
        preprocessing: Preprocessing,
        *,
        validation_groups: Indices | None = None,
    ) -> TrainingData:
        """Decode every picture once. About 0.2 MB per training picture at 224."""
        groups = np.arange(len(validation)) if validation_groups is None else validation_groups
        larger = replace(preprocessing, size=round(preprocessing.size * _MARGIN))
        framed = [_framed(dataset, record, larger) for record in train]
        return cls(
            canvases=[canvas for canvas, _ in framed],
            masks=[mask for _, mask in framed],
            targets=np.array([r.target for r in train], dtype=np.int64),
            validation=[preprocessing.apply(dataset.read(r))[0] for r in validation],
            validation_targets=np.array([r.target for r in validation], dtype=np.int64),
            validation_weights=group_weights(groups),
        )


def _framed(
    dataset: Dataset, record: Record, preprocessing: Preprocessing
) -> tuple[UInt8Image, UInt8Image | None]:
    canvas, geometry = preprocessing.frame(dataset.read(record))
    mask = dataset.read_mask(record)
    return canvas, None if mask is None else preprocessing.frame_mask(mask, geometry)


def predict_logits(
    network: ResNet, inputs: Sequence[Float32Image], device: torch.device, *, batch: int = 16
) -> Floats:
    """Logits of prepared inputs (float32 3xSxS each), evaluation mode: float64 N x classes."""
    network.eval()
    rows: list[npt.NDArray[Any]] = []
    with torch.inference_mode():
        for start in range(0, len(inputs), batch):
            stacked = torch.from_numpy(np.stack(inputs[start : start + batch]))
            moved = stacked.to(device, memory_format=torch.channels_last)
            rows.append(forward_with_cam(network, moved)[0].double().cpu().numpy())
    return np.concatenate(rows) if rows else np.zeros((0, network.fc.out_features))


def _cell_shares(mask: UInt8Image | None, size: int) -> Float32Image:
    """What share of the lesion lies in each cell of the last feature map; zeros without one."""
    cells = size // 32
    if mask is None:
        return np.zeros((cells, cells), dtype=np.float32)
    grid = mask.reshape(cells, 32, cells, 32).mean(axis=(1, 3), dtype=np.float32)
    return np.asarray(grid / max(float(grid.sum()), 1e-6), dtype=np.float32)


def attention_loss(maps: Tensor, heads: Tensor, lesions: Tensor) -> Tensor:
    """Cross-entropy between the lesion's shares and the softmax over a class's activation map.

    ``maps`` B x 2048 x h x w, ``heads`` B x 2048 (the head's row of each picture's true class),
    ``lesions`` B x h x w (zeros where there is no mask). Mean over the pictures of the batch.
    """
    cams = torch.einsum("bc,bchw->bhw", heads, maps).flatten(1)
    return -(lesions.flatten(1) * functional.log_softmax(cams, dim=1)).sum() / len(maps)


def _is_out_of_memory(error: BaseException) -> bool:
    """CUDA has an error class for it; the CPU's allocator only says so in words."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "allocate memory" in str(error)


class Trainer:
    """A run that can stop after any epoch and go on from its checkpoint to the same end.

    All randomness is drawn from the seed, the epoch and the picture's position, never from a
    generator that lives across epochs, so a resumed run repeats exactly what it would have done.
    ``fresh`` names the modules that start without weights and learn at ``head_lr``.
    """

    def __init__(
        self,
        network: ResNet,
        config: TrainConfig,
        data: TrainingData,
        preprocessing: Preprocessing,
        device: torch.device,
        *,
        fresh: Sequence[str] = ("fc",),
    ) -> None:
        self.config, self.data = config, data
        self.preprocessing, self.device = preprocessing, device
        self.network = network.to(device, memory_format=torch.channels_last)
        for name in config.frozen:
            getattr(network, name).requires_grad_(False)
        self.fresh = tuple(fresh)
        self.optimizer = self._make_optimizer()
        self.average: State = {k: v.detach().clone() for k, v in network.state_dict().items()}
        self.epoch = 0
        self.step = 0
        self.history: list[dict[str, float]] = []
        self.best: State = self.average
        self.best_epoch = 0

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch; they differ in size by one at most."""
        return math.ceil(len(self.data.targets) / self.config.batch_size)

    def _make_optimizer(self) -> torch.optim.Optimizer:
        config = self.config
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                head = name.split(".")[0] in self.fresh
                groups.setdefault((head, parameter.ndim > 1), []).append(parameter)
        settings: list[dict[str, Any]] = [
            {
                "params": parameters,
                "base_lr": config.head_lr if head else config.lr,
                "weight_decay": config.weight_decay if decayed else 0.0,
            }
            for (head, decayed), parameters in sorted(groups.items(), key=lambda g: g[0])
        ]
        made = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
        return made(settings, lr=config.lr)

    def _rate(self) -> float:
        """Factor on the base learning rates at the current step: warm-up, then the schedule."""
        warmup = self.config.warmup_epochs * self.steps_per_epoch
        if self.step < warmup:
            return (self.step + 1) / (warmup + 1)
        if self.config.schedule == "constant":
            return 1.0
        total = self.config.epochs * self.steps_per_epoch
        return 0.5 * (1 + math.cos(math.pi * (self.step - warmup) / max(1.0, total - warmup)))

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Augmented batches of one epoch, drawn from the seed."""
        order = np.random.default_rng([self.config.seed, epoch]).permutation(len(self.data.targets))
        size = self.config.size_at(epoch)
        for chosen in np.array_split(order, self.steps_per_epoch):
            images, lesions = [], []
            for index in chosen.tolist():
                rng = np.random.default_rng([self.config.seed, epoch, index])
                canvas, mask = self.data.canvases[index], self.data.masks[index]
                changed, moved = augment(canvas, size, self.config.augment, rng, mask)
                images.append(self.preprocessing.normalise(changed))
                lesions.append(_cell_shares(moved, size))
            yield Batch(
                torch.from_numpy(np.stack(images)),
                torch.from_numpy(self.data.targets[chosen]),
                torch.from_numpy(np.stack(lesions)),
            )

    def run_epoch(self, on_progress: Callable[[Progress], None] | None = None) -> dict[str, float]:
        """Train one epoch, measure on validation, append to ``history`` and return its row.

        Raises ``NonFiniteLossError`` or ``OutOfMemoryError``; the last checkpoint stays good.
        """
        started = time.perf_counter()
        torch.manual_seed(self.config.seed * 100_003 + self.epoch)
        self.network.train()
        for name in self.config.frozen:
            getattr(self.network, name).eval()
        if self.config.frozen_batchnorm:
            for module in self.network.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        losses, right, seen = 0.0, 0, 0
        for number, batch in enumerate(self.batches(self.epoch), start=1):
            loss, correct = self._step(batch)
            count = len(batch.targets)
            losses, right, seen = losses + loss * count, right + correct, seen + count
            if on_progress:
                epochs, steps = self.config.epochs, self.steps_per_epoch
                on_progress(Progress(self.epoch + 1, epochs, number, steps, losses / seen))
        row = {"epoch": float(self.epoch + 1), "train_loss": losses / seen}
        row |= {"size": float(self.config.size_at(self.epoch)), "train_accuracy": right / seen}
        row |= self._validate()
        row["seconds"] = time.perf_counter() - started
        self.epoch += 1
        self.history.append(row)
        if self._is_best(row):
            self.best_epoch = self.epoch
            self.best = {k: v.clone() for k, v in self._current().items()}
        return row

    def _is_best(self, row: dict[str, float]) -> bool:
        if self.config.choose == "last" or CHOICE not in row:
            return True
        return row[CHOICE] <= min(entry[CHOICE] for entry in self.history if CHOICE in entry)

    def _step(self, batch: Batch) -> tuple[float, int]:
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * self._rate()
        moved = batch.images.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        goal = batch.targets.to(self.device, non_blocking=True)
        cuda = self.device.type == "cuda"
        try:
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=cuda):
                maps = features(self.network, moved)
                pooled = functional.dropout(maps.mean(dim=(2, 3)), self.config.dropout)
                logits = self.network.fc(pooled)
                loss = functional.cross_entropy(
                    logits, goal, label_smoothing=self.config.label_smoothing
                )
                if self.config.attention:
                    lesions = batch.lesions.to(self.device, non_blocking=True)
                    loss = loss + self.config.attention * attention_loss(
                        maps, self.network.fc.weight[goal], lesions
                    )
            if not torch.isfinite(loss):
                raise NonFiniteLossError(
                    f"the loss became {loss.item()} in epoch {self.epoch + 1}, step {self.step}"
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"out of memory with batches of {len(goal)}; use a smaller batch size"
            ) from error
        self.step += 1
        self._update_average()
        return float(loss.item()), int((logits.argmax(dim=1) == goal).sum().item())

    def _update_average(self) -> None:
        if not self.config.ema:
            return
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value.detach(), 1 - decay)
            else:
                self.average[name].copy_(value)

    def _current(self) -> State:
        """The weights that count: averaged ones where the run averages."""
        return self.average if self.config.ema else self.network.state_dict()

    def _validate(self) -> dict[str, float]:
        """Figures on validation; none without pictures for it, or before the full size.

        What the weights do at the full size before they were trained at it says little.
        """
        if not self.data.validation or self.config.size_at(self.epoch) != self.config.size:
            return {}
        own = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.network.load_state_dict(self._current())
        logits = predict_logits(self.network, self.data.validation, self.device)
        self.network.load_state_dict(own)
        if not np.isfinite(logits).all():
            raise NonFiniteLossError(
                f"the validation scores of epoch {self.epoch + 1} are not numbers"
            )
        scores = softmax(logits)
        targets, weights = self.data.validation_targets, self.data.validation_weights
        temperature = fit_temperature(logits, targets, weights)
        found = measure(targets, scores, _NEUTRAL_THRESHOLD)
        row = {
            "val_loss": log_loss(scores, targets),
            CHOICE: log_loss(softmax(logits, temperature), targets, weights),
            "val_accuracy": float((scores.argmax(axis=1) == targets).mean()),
        }
        for key in ("precision", "recall", "f1"):
            known = [v for v in found[key].values() if v is not None]
            row[f"val_{key}"] = float(np.mean(known))
        area = found["auc_malignant"]
        row["val_auc_malignant"] = float("nan") if area is None else area
        return row

    def save_checkpoint(self, path: Path, identity: dict[str, Any]) -> None:
        """Write all state as a plain dict by atomic rename; ``identity`` says which run it is."""
        buffer = io.BytesIO()
        torch.save(
            {
                "identity": identity,
                "network": self.network.state_dict(),
                "average": self.average,
                "best": self.best,
                "best_epoch": self.best_epoch,
                "optimizer": self.optimizer.state_dict(),
                "epoch": self.epoch,
                "step": self.step,
                "history": self.history,
            },
            buffer,
        )
        write_atomic(path, buffer.getvalue())

    def load_checkpoint(self, path: Path, identity: dict[str, Any]) -> None:
        """Go on from a checkpoint of the same run.

        Raises ``ModelFileError`` when it cannot be read or is of another architecture, and
        ``TrainingError`` when its settings or data differ from this run's.
        """
        try:
            saved = torch.load(path, map_location=self.device, weights_only=True)
            for key, value in identity.items():
                if saved["identity"].get(key) != value:
                    raise TrainingError(f"{path.name} is of another run: {key} differs")
            self.network.load_state_dict(saved["network"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.average, self.best = saved["average"], saved["best"]
            self.best_epoch = int(saved["best_epoch"])
            self.epoch, self.step = int(saved["epoch"]), int(saved["step"])
            self.history = list(saved["history"])
        except (OSError, RuntimeError, KeyError, EOFError, pickle.UnpicklingError) as error:
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelFileError(f"{path.name} is no checkpoint of this network: {first}") from None
