"""The training loop: steps, optimiser, averaged weights, the table of epochs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models import ResNet

from ml.batches import Batch, BatchMaker, TrainingData, made_ahead
from ml.calibrate import Floats, fit_temperature, log_loss, softmax
from ml.checkpoints import not_a_checkpoint, read_checkpoint, write_checkpoint
from ml.cli import UsageError
from ml.config import TrainConfig
from ml.distributed import Loop, others_named
from ml.errors import (
    NonFiniteLossError,
    TrainingCancelledError,
    TrainingError,
)
from ml.metrics import measure
from ml.model import forward_with_cam
from ml.preprocessing import Float32Image, Preprocessing
from ml.progress import Progress
from ml.steps import Classifier, attention_loss, out_of_memory_named

State = dict[str, Tensor]
CHOICE = "val_calibrated_loss"
"""The column of the history by which the best epoch is chosen: validation log loss after its own
temperature, each group counting once. Plain log loss punishes overconfidence that calibration
takes away."""
_NEUTRAL_THRESHOLD = 1 / 3  # for the per-epoch table, before an operating point is chosen


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


class Trainer:
    """A run that can stop after any epoch and go on from its checkpoint to the same end.

    All randomness is drawn from the seed, the epoch and the picture's position, never from a
    generator that lives across epochs, so a resumed run repeats exactly what it would have done:
    on the CPU, with as many threads. On CUDA cuDNN chooses its kernels and sums in no fixed order,
    so the last bits of losses differ there.
    ``fresh`` names the modules that start without weights and learn at ``head_lr``.

    The processes of one world (``loop``) take a share of every batch each and average their
    gradients by the pictures in it, so the steps are those of a lone process up to rounding.
    BatchNorm's batch statistics are those of the whole batch on CUDA, but of each process's share
    on the CPU, where torch has no synchronised BatchNorm.
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
        loop: Loop | None = None,
    ) -> None:
        self.config, self.data = config, data
        self.preprocessing, self.device = preprocessing, device
        loop = loop or Loop()
        self.world, self._workers = loop.world, loop.workers_for(device)
        synced = device.type == "cuda" or config.frozen_batchnorm
        if self.world.size > 1 and device.type == "cuda" and not config.frozen_batchnorm:
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
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
        smallest = data.epoch_length(config.one_per_group) // self.steps_per_epoch
        if smallest < self.world.size:
            raise TrainingError(
                f"batches of {smallest} pictures cannot be shared by {self.world.size} processes"
            )
        learning = not config.frozen_batchnorm and "layer4" not in config.frozen
        per_step = smallest if synced else smallest // self.world.size
        if (
            learning
            and per_step < 2
            and min([config.size, *(side for _, side in config.stages)]) < 64
        ):
            raise UsageError(
                "one picture of 32 px leaves BatchNorm nothing to average: use larger batches"
            )
        self._synced, self._compiled = synced, loop.compiled
        self._held: bool | None = None
        self._hold()

    def _hold(self) -> None:
        """Let the held modules learn or not, as this epoch asks.

        What learns is part of what DDP and the compiler were told, so they are told again.
        """
        held = self.config.holds_at(self.epoch)
        if held == self._held:
            return
        self._held = held
        for name in self.config.held:
            getattr(self.network, name).requires_grad_(not held)
        model = Classifier(self.network, self.config.dropout)
        together = self.world.together(model, self.device, synced=self._synced)
        self._model = torch.compile(together) if self._compiled else together

    @property
    def steps_per_epoch(self) -> int:
        """Batches per epoch; they differ in size by one at most."""
        length = self.data.epoch_length(self.config.one_per_group)
        return math.ceil(length / self.config.batch_size)

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
        # One pass over all tensors instead of a dozen: a third of the time of the plain step.
        return made(settings, lr=config.lr, fused=True)

    def _rate(self) -> float:
        """Factor on the base learning rates at the current step: warm-up, then the schedule."""
        warmup = self.config.warmup_epochs * self.steps_per_epoch
        if self.step < warmup:
            return (self.step + 1) / (warmup + 1)
        if self.config.schedule == "constant":
            return 1.0
        total = self.config.epochs * self.steps_per_epoch
        return 0.5 * (1 + math.cos(math.pi * (self.step - warmup) / max(1.0, total - warmup)))

    def batches(self, epoch: int) -> Generator[Batch]:
        """This process's share of the augmented batches of one epoch, drawn from the seed."""
        maker = BatchMaker(
            self.data,
            self.config,
            self.preprocessing,
            share=self.world.rank,
            shares=self.world.size,
            pin=self.device.type == "cuda",
        )
        plan = maker.plan(epoch, self.steps_per_epoch)
        return made_ahead(partial(maker.make, epoch), plan, self._workers)

    def run_epoch(
        self,
        on_progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> dict[str, float]:
        """Train one epoch, measure on validation, append to ``history`` and return its row.

        ``train_loss`` is the log loss on the augmented pictures, to compare with ``val_loss``;
        ``train_objective`` is what the steps make smaller: weighted by class, labels smoothed, with
        the attention's part. Rows from before there was the second have it as ``train_loss``.
        ``cancelled`` is asked in each step. Raises ``TrainingCancelledError``,
        ``NonFiniteLossError``, ``OutOfMemoryError``, and ``TrainingError`` when another process
        of the world has ended; the last checkpoint stays good.
        """
        started = time.perf_counter()
        advice = f"with batches of {self.config.batch_size}; use a smaller batch size"
        with out_of_memory_named(advice), others_named():
            trained = self._train_epoch(on_progress, cancelled)
            measured = self._validate() if self.world.first else {}
        row = {"epoch": float(self.epoch + 1), **trained, **self.world.from_first(measured)}
        row["seconds"] = time.perf_counter() - started
        self.epoch += 1
        self.history.append(row)
        if self._is_best(row):
            self.best_epoch = self.epoch
            self.best = {k: v.clone() for k, v in self._current().items()}
        return row

    def _train_epoch(
        self, on_progress: Callable[[Progress], None] | None, cancelled: Callable[[], bool]
    ) -> dict[str, float]:
        torch.manual_seed(self.config.seed * 100_003 + self.epoch)
        self._hold()
        self.network.train()
        for name in (*self.config.frozen, *self.config.held):
            getattr(self.network, name).eval()
        if self.config.frozen_batchnorm:
            for module in self.network.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        losses, plain, right, seen = 0.0, 0.0, 0, 0
        epochs, steps = self.config.epochs, self.steps_per_epoch
        with closing(self.batches(self.epoch)) as batches:
            for number, batch in enumerate(batches, start=1):
                loss, log_losses, correct = self._step(batch, cancelled)
                losses, seen = losses + loss * batch.total, seen + batch.total
                plain, right = plain + log_losses, right + correct
                if on_progress:
                    on_progress(Progress(self.epoch + 1, epochs, number, steps, losses / seen))
        # The last step's gradients can spoil the weights after its loss was looked at.
        if not all(bool(torch.isfinite(p).all()) for p in self.network.parameters()):
            raise NonFiniteLossError(f"the weights of epoch {self.epoch + 1} are not numbers")
        row = {"train_loss": plain / seen, "train_objective": losses / seen}
        row["size"] = float(self.config.size_at(self.epoch))
        return row | {"train_accuracy": right / seen}

    def _is_best(self, row: dict[str, float]) -> bool:
        if self.config.choose == "last" or CHOICE not in row:
            return True
        return row[CHOICE] <= min(entry[CHOICE] for entry in self.history if CHOICE in entry)

    def _step(self, batch: Batch, cancelled: Callable[[], bool]) -> tuple[float, float, int]:
        """One step on a batch: its mean objective, and over all processes the sum of the pictures'
        log losses (neither weighted nor smoothed, as on validation) and how many were right.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["base_lr"] * self._rate()
        images = batch.images.to(self.device, non_blocking=True)
        goal = batch.targets.to(self.device, non_blocking=True)
        cuda = self.device.type == "cuda"
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=cuda):
            maps, logits = self._model(images, self._kept(batch))
            weights = self.config.class_weights
            loss = functional.cross_entropy(
                logits,
                goal,
                weight=logits.new_tensor(weights) if weights else None,
                label_smoothing=self.config.label_smoothing,
                reduction="sum",
            ) / len(goal)
            if self.config.attention:
                lesions = batch.lesions.to(self.device, non_blocking=True)
                heads = self.network.fc.weight[goal]
                loss = loss + self.config.attention * attention_loss(maps, heads, lesions)
        with torch.no_grad():
            plain = functional.cross_entropy(logits.float(), goal, reduction="sum")
            correct = (logits.argmax(dim=1) == goal).sum()
        value, log_losses, right, stop = self._agreed(batch, loss, plain, correct, cancelled())
        if stop:
            raise TrainingCancelledError(
                f"the training was cancelled in epoch {self.epoch + 1} of {self.config.epochs}"
            )
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"the loss became {value} in epoch {self.epoch + 1}, step {self.step}"
            )
        if self.world.size > 1:
            # DDP takes the plain mean over processes, whatever the size of their shares.
            loss = loss * (len(goal) * self.world.size / batch.total)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return value, log_losses, right

    def _agreed(
        self, batch: Batch, loss: Tensor, plain: Tensor, correct: Tensor, stop: bool
    ) -> tuple[float, float, int, bool]:
        """Of the whole batch: mean loss, summed log losses, pictures right, and whether any
        process is to stop.
        """
        found = torch.stack([loss.detach().double(), plain.double(), correct.double()])
        value, log_losses, right = found.tolist()
        if self.world.size == 1:
            return value, log_losses, int(right), stop
        shares = [value * len(batch.targets), log_losses, right, float(stop)]
        total, log_losses, right, stops = self.world.sums(shares, self.device)
        return total / batch.total, log_losses, int(right), stops > 0

    def _kept(self, batch: Batch) -> Tensor | None:
        """Dropout's factors for this process's share: its rows of one draw for the whole batch.

        Each process draws the same from the epoch's seed. None where torch's dropout does it: it
        draws other factors, so several processes do not repeat a lone one's dropout.
        """
        if self.world.size == 1 or not self.config.dropout:
            return None
        keep, width = 1 - self.config.dropout, self.network.fc.in_features
        drawn = torch.empty(batch.total, width, device=self.device).bernoulli_(keep).div_(keep)
        return drawn[batch.start : batch.start + len(batch.targets)]

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
        state = {
            "identity": identity,
            "network": self.network.state_dict(),
            "average": self.average,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "history": self.history,
        }
        with out_of_memory_named("while writing the checkpoint"):
            write_checkpoint(path, state)

    def load_checkpoint(self, path: Path, identity: dict[str, Any]) -> None:
        """Go on from a checkpoint of the same run.

        Raises ``ModelFileError`` when it cannot be read, is of another architecture, or its
        settings or data differ from this run's.
        """
        saved = read_checkpoint(path, self.device, identity)
        try:
            for name in ("average", "best", "network"):  # the last one's weights stay in place
                self.network.load_state_dict(saved[name])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.average, self.best = saved["average"], saved["best"]
            self.best_epoch = int(saved["best_epoch"])
            self.epoch, self.step = int(saved["epoch"]), int(saved["step"])
            self.history = list(saved["history"])
        except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise not_a_checkpoint(path, error) from None
