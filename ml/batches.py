"""Training pictures in memory, and augmented batches of them made ahead of the network."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ml.augment import augment
from ml.calibrate import Floats, Indices, group_weights
from ml.canvases import framed, mapped_canvases
from ml.config import TrainConfig
from ml.dataset import Dataset, Record
from ml.preprocessing import Float32Image, Preprocessing, UInt8Image

_MARGIN = 8 / 7  # training canvases are this much larger than the input, for sharp zooming

Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Batch:
    """Images float32 Bx3xSxS (channels last), targets int64 B, lesions float32 B x S/32 x S/32.

    ``lesions`` hold each cell's share of the lesion: they sum to 1, or to 0 without a mask.
    ``total`` is the size of the whole batch that this is a process's share of, ``start`` the
    position of the share in it.
    """

    images: Tensor
    targets: Tensor
    lesions: Tensor
    total: int
    start: int = 0

    def pinned(self) -> Batch:
        """The same in page-locked memory, from which a GPU copies without waiting."""
        return replace(
            self,
            images=self.images.pin_memory(),
            targets=self.targets.pin_memory(),
            lesions=self.lesions.pin_memory(),
        )


@dataclass(frozen=True)
class TrainingData:
    """Decoded pictures: framed canvases for training, ready inputs for validation.

    ``masks`` are the lesion masks on the same canvases, None where there is none. ``groups`` are
    those of the training pictures (patients and near-duplicates). ``validation_weights`` make the
    pictures of a group count as one. There may be no validation.
    """

    canvases: list[UInt8Image]
    masks: list[UInt8Image | None]
    targets: Indices
    groups: Indices
    validation: list[Float32Image]
    validation_targets: Indices
    validation_weights: Floats

    def epoch_length(self, one_per_group: bool) -> int:
        """Pictures in an epoch: all of them, or one of each group."""
        return len(np.unique(self.groups)) if one_per_group else len(self.targets)

    @classmethod
    def load(
        cls,
        dataset: Dataset,
        train: Sequence[Record],
        validation: Sequence[Record],
        preprocessing: Preprocessing,
        *,
        groups: Indices | None = None,
        validation_groups: Indices | None = None,
        cache: Path | None = None,
    ) -> TrainingData:
        """Decode every picture once.

        At 224 pixels that takes 0.26 MB of memory per training picture (canvas and mask) and
        0.6 MB per validation picture. With ``cache``, a folder, the training canvases lie in a
        file there that is mapped into memory: the system may drop its pages, several processes
        share them, and the next run with the same pictures and preprocessing skips the decoding.
        """
        apart = np.arange(len(validation)) if validation_groups is None else validation_groups
        larger = replace(preprocessing, size=round(preprocessing.size * _MARGIN))
        if cache is None:
            pictures = [framed(dataset, record, larger) for record in train]
        else:
            pictures = mapped_canvases(cache, dataset, train, larger)
        return cls(
            canvases=[canvas for canvas, _ in pictures],
            masks=[mask for _, mask in pictures],
            targets=np.array([r.target for r in train], dtype=np.int64),
            groups=np.arange(len(train)) if groups is None else groups,
            validation=[preprocessing.apply(dataset.read(r))[0] for r in validation],
            validation_targets=np.array([r.target for r in validation], dtype=np.int64),
            validation_weights=group_weights(apart),
        )


def cell_shares(mask: UInt8Image | None, size: int) -> Float32Image:
    """What share of the lesion lies in each cell of the last feature map; zeros without one."""
    cells = size // 32
    if mask is None:
        return np.zeros((cells, cells), dtype=np.float32)
    grid = mask.reshape(cells, 32, cells, 32).mean(axis=(1, 3), dtype=np.float32)
    return np.asarray(grid / max(float(grid.sum()), 1e-6), dtype=np.float32)


@dataclass(frozen=True)
class BatchMaker:
    """Draws the batches of an epoch from the seed; any process or thread draws the same.

    All randomness comes from the seed, the epoch and the picture's position, so the order in
    which batches are made does not matter. ``share`` of ``shares`` is the part of every batch
    that this process takes (both 0-based and 1 for a lone process).
    """

    data: TrainingData
    config: TrainConfig
    preprocessing: Preprocessing
    share: int = 0
    shares: int = 1
    pin: bool = False

    def plan(self, epoch: int, count: int) -> list[Indices]:
        """Positions of the pictures of each of ``count`` batches, whole, for all processes."""
        order = np.random.default_rng([self.config.seed, epoch]).permutation(len(self.data.targets))
        if self.config.one_per_group:
            # The first of each group in a random order is a random one of it.
            _, first = np.unique(self.data.groups[order], return_index=True)
            order = order[np.sort(first)]
        return np.array_split(order, count)

    def make(self, epoch: int, chosen: Indices) -> Batch:
        """Augment this process's share of the pictures of a batch."""
        size = self.config.size_at(epoch)
        parts = np.array_split(chosen, self.shares)
        mine = parts[self.share]
        # Height x width x channel is the order the network's channels-last kernels read.
        pixels = np.empty((len(mine), size, size, 3), dtype=np.float32)
        lesions = np.empty((len(mine), size // 32, size // 32), dtype=np.float32)
        for place, index in enumerate(mine.tolist()):
            rng = np.random.default_rng([self.config.seed, epoch, index])
            canvas, mask = self.data.canvases[index], self.data.masks[index]
            changed, moved = augment(canvas, size, self.config.augment, rng, mask)
            pixels[place] = self.preprocessing.normalise(changed).transpose(1, 2, 0)
            lesions[place] = cell_shares(moved, size)
        batch = Batch(
            torch.from_numpy(pixels).permute(0, 3, 1, 2),
            torch.from_numpy(self.data.targets[mine]),
            torch.from_numpy(lesions),
            total=len(chosen),
            start=sum(len(part) for part in parts[: self.share]),
        )
        return batch.pinned() if self.pin else batch


def made_ahead(
    make: Callable[[Item], Made], items: Iterable[Item], workers: int
) -> Generator[Made]:
    """``map(make, items)`` in order, with ``workers`` threads making the next ones meanwhile.

    At most ``workers`` results wait. Pillow's and numpy's loops let other threads run, so threads
    do for augmentation and need no copies between processes. An error of ``make`` is raised where
    its result would have come; leaving early stops the threads. 0 workers: plain ``map``.
    """
    if workers == 0:
        yield from map(make, items)
        return
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
