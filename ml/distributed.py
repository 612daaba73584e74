"""Several processes that train one network together, started by ``torchrun``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

from ml.cli import UsageError
from ml.errors import TrainingError
from ml.threads import cpu_count

Value = TypeVar("Value")
CPU_WORKERS = 1
_PATIENCE = timedelta(minutes=30)  # how long the others wait while the first one validates


@dataclass(frozen=True)
class World:
    """This process's place among those that train together; a lone one by default.

    ``rank`` is 0-based; ``device`` is what this process computes on.
    """

    rank: int = 0
    size: int = 1
    device: str = "auto"

    @property
    def first(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def sums(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Each value summed over all processes (float64). Raises ``TrainingError``."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64, device=device)
        with others_named():
            dist.all_reduce(tensor)
        return [float(v) for v in tensor.tolist()]

    def from_first(self, value: Value) -> Value:
        """The first process's value, on every process. Raises ``TrainingError``."""
        if self.size == 1:
            return value
        box = [value]
        with others_named():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def together(self, module: nn.Module, device: torch.device, *, synced: bool) -> nn.Module:
        """Average ``module``'s gradients over the processes; a lone process gets it unchanged.

        All start from the first process's weights and, as the gradients are the same everywhere,
        stay alike. Where ``synced`` is false, BatchNorm's running statistics would drift apart:
        then each forward pass begins with the first process's.
        """
        if self.size == 1:
            return module
        ids = [device.index] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(
            module, device_ids=ids, broadcast_buffers=not synced
        )


@dataclass(frozen=True)
class Loop:
    """How a training runs on the hardware at hand; what it computes is in ``TrainConfig``.

    ``workers`` threads make batches ahead, which changes no number; None: none on the CPU, where
    the network's own threads need the cores, and up to 8 beside a GPU. ``compiled`` fuses kernels
    with ``torch.compile``, which changes the last bits. ``cache`` is a folder for decoded
    pictures, None keeps them in memory.
    """

    world: World = field(default_factory=World)
    workers: int | None = None
    compiled: bool = False
    cache: Path | None = None

    def workers_for(self, device: torch.device) -> int:
        """``workers``, or what is best for the device."""
        if self.workers is not None:
            return self.workers
        return min(8, cpu_count()) if device.type == "cuda" else CPU_WORKERS


@contextmanager
def joined(device: str = "auto") -> Iterator[World]:
    """Join the processes of ``torchrun``, or be a lone one where it did not start this process.

    With CUDA each process takes the GPU of its local rank and talks NCCL; else they talk gloo.
    Raises ``UsageError`` where a process would have no GPU of its own.
    """
    if not dist.is_torchelastic_launched():
        yield World(device=device)
        return
    rank, size, local = (int(os.environ[k]) for k in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if cuda:
        if local >= torch.cuda.device_count():
            raise UsageError(
                f"process {local} of this machine has no GPU: there are "
                f"{torch.cuda.device_count()}; use --nproc-per-node or --device cpu"
            )
        torch.cuda.set_device(local)
        device = f"cuda:{local}"
    dist.init_process_group("nccl" if cuda else "gloo", timeout=_PATIENCE)
    try:
        yield World(rank, size, device)
    finally:
        dist.destroy_process_group()


@contextmanager
def others_named() -> Iterator[None]:
    """Turn what torch says when another process is gone into ``TrainingError``."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection" in str(error):
            raise TrainingError("another process of this training has ended") from error
        raise
