"""Training speed: our loop beside the plain one of torchvision's reference recipe, in one run.

Plain means what torchvision's ``references/classification`` does on the CPU: each epoch decodes
every file anew, transforms it with torchvision, stacks it in a ``DataLoader`` and steps in NCHW.
It is measured with loader processes and without. Network, pictures, batch size, optimiser and
input size are the same; both loops train one epoch over the same pictures per round, in a new
order each round, so that whatever else the machine does meets all of them. The figures are
medians over rounds. Averaged weights, the attention loss and smaller first inputs, which the plain
loop does not have, are off; augmentation is the recipe's, in the plain loop with torchvision's
transforms for it (``bcweb``: torchvision's preset for training). Each loop has a process of its
own, because `ml.train` keeps memory blocks (`ml.allocator`) and the plain recipe does not.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from bench.inference import machine
from ml import registry
from ml.allocator import keep_blocks
from ml.batches import TrainingData
from ml.cli import UsageError, run_cli
from ml.config import RECIPES, RecipeName, TrainConfig
from ml.dataset import Dataset, read_dataset
from ml.distributed import CPU_WORKERS, Loop
from ml.errors import DatasetError, MlError
from ml.model import build_network
from ml.preprocessing import PREPROCESSING
from ml.threads import default_threads
from ml.trainer import Trainer

Work = Callable[[], Any]
CPU = torch.device("cpu")


def plain_config(recipe: RecipeName, batch_size: int, size: int) -> TrainConfig:
    """The recipe without what the plain loop does not have."""
    return replace(
        RECIPES[recipe],
        batch_size=batch_size,
        size=size,
        stages=(),
        ema=0.0,
        attention=0.0,
        dropout=0.0,
        label_smoothing=0.0,
        warmup_epochs=0.0,
        schedule="constant",
    )


class Files(TorchDataset[tuple[torch.Tensor, int]]):
    """Pictures decoded from their files each time they are asked for."""

    def __init__(self, dataset: Dataset, transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self._files = [(dataset.root / r.file, r.target) for r in dataset.records]
        self._transform = transform

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        path, target = self._files[index]
        with path.open("rb") as file:
            return self._transform(Image.open(file).convert("RGB")), target


def plain_transform(config: TrainConfig) -> Callable[[Image.Image], torch.Tensor]:
    """torchvision's transforms for the recipe."""
    smooth, zoom = InterpolationMode.BILINEAR, config.augment.zoom
    chosen: list[Any] = [transforms.RandomResizedCrop(config.size, interpolation=smooth)]
    if config.recipe == "paper":
        scale = (math.exp(-zoom), math.exp(zoom))
        chosen = [
            transforms.Resize((config.size, config.size), interpolation=smooth),
            transforms.RandomAffine(config.augment.rotate, scale=scale, interpolation=smooth),
        ]
    preprocessing = PREPROCESSING[config.recipe]
    composed: Callable[[Image.Image], torch.Tensor] = transforms.Compose(
        [
            *chosen,
            transforms.RandomHorizontalFlip(config.augment.flip),
            transforms.PILToTensor(),
            transforms.ConvertImageDtype(torch.float),
            transforms.Normalize(preprocessing.mean, preprocessing.std),
        ]
    )
    return composed


def plain_loop(dataset: Dataset, config: TrainConfig, workers: int) -> Work:
    """One epoch as ``train_one_epoch`` of torchvision's reference does it."""
    torch.manual_seed(0)
    network = build_network()
    made = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    optimizer = made(network.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    criterion = nn.CrossEntropyLoss()
    # Its workers are started once: in the short epochs here their start would weigh too much.
    loader = DataLoader(
        Files(dataset, plain_transform(config)),
        batch_size=config.batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )

    def epoch() -> None:
        network.train()
        for images, targets in loader:
            output = network(images)
            loss = criterion(output, targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()
            (output.argmax(dim=1) == targets).sum().item()

    return epoch


def our_loop(data: TrainingData, config: TrainConfig, workers: int) -> Work:
    """One epoch of our loop, without measuring on validation, which the plain one lacks."""
    torch.manual_seed(0)
    preprocessing = replace(PREPROCESSING[config.recipe], size=config.size)
    loop = Loop(workers=workers)
    trainer = Trainer(build_network(), config, data, preprocessing, CPU, loop=loop)
    return lambda: trainer.run_epoch()


class Apart:
    """A loop in a process of its own: called, it runs one epoch there and waits for its end."""

    def __init__(
        self, name: str, make: Callable[[], Work], *, threads: int, keeps_blocks: bool
    ) -> None:
        self._name = name
        # Forked, so that the pictures are decoded once.
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=self._serve, args=(theirs, make, threads, keeps_blocks)
        )
        self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pipe.close()
        self._process.join()

    def __call__(self) -> None:
        self._pipe.send(None)
        try:
            self.peak_mib: int = self._pipe.recv()
        except EOFError as error:
            # Its process has told why.
            raise MlError(f"the loop {self._name!r} ended in the middle") from error

    def _serve(
        self, pipe: Connection, make: Callable[[], Work], threads: int, keeps_blocks: bool
    ) -> None:
        self._pipe.close()
        if keeps_blocks:
            keep_blocks()
        torch.set_num_threads(threads)
        epoch = make()
        while True:
            try:
                pipe.recv()
            except EOFError:
                # The other end is closed: no more rounds.
                return
            epoch()
            pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def loops_of(
    dataset: Dataset, config: TrainConfig, loader_workers: int
) -> tuple[dict[str, Callable[[], Work]], dict[str, Any]]:
    """What makes each loop that is timed, by name, and facts about it."""
    preprocessing = replace(PREPROCESSING[config.recipe], size=config.size)
    started = time.perf_counter()
    data = TrainingData.load(dataset, dataset.records, (), preprocessing)
    facts = {"decoding_once_s": time.perf_counter() - started}
    # The one that is our default comes last of its kind and gives the headline.
    other = 0 if CPU_WORKERS else 1
    names = {0: "ours, batches in line", 1: "ours, batches made ahead"}
    loops = {"plain": partial(plain_loop, dataset, config, 0)}
    if loader_workers:
        name = f"plain, {loader_workers} loaders"
        loops[name] = partial(plain_loop, dataset, config, loader_workers)
    for workers in (other, CPU_WORKERS):
        loops[names[workers]] = partial(our_loop, data, config, workers)
    return loops, facts


def measure(loops: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Seconds per loop and round; every loop once before, uncounted."""
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    order, shuffle = list(loops), random.Random(0)
    for number in range(rounds + 1):
        shuffle.shuffle(order)
        for name in order:
            started = time.perf_counter()
            loops[name]()
            if number:
                seconds[name].append(time.perf_counter() - started)
        if sys.stderr.isatty():
            print(f"round {number} of {rounds}", file=sys.stderr)
    return seconds


def rows_of(
    seconds: dict[str, list[float]], pictures: int, decoding: float, epochs: int
) -> list[dict[str, Any]]:
    """A row per loop; ``times_plain`` is the median over rounds of the ratio within a round.

    For our loop the one decoding is spread over the recipe's epochs in ``with_decoding``, and
    counted in both ratios. ``times_fastest_plain`` is against the plain loop with the best median.
    """
    fastest = min(
        (n for n in seconds if n.startswith("plain")), key=lambda n: np.median(seconds[n])
    )
    rows = []
    for name, times in seconds.items():
        extra = decoding / epochs if name.startswith("ours") else 0.0

        def ratio(base: str, own: Sequence[float] = times, more: float = extra) -> float:
            pairs = zip(seconds[base], own, strict=True)
            return statistics.median(theirs / (ours + more) for theirs, ours in pairs)

        median = statistics.median(times)
        rows.append(
            {
                "loop": name,
                "images_per_s": pictures / median,
                "with_decoding": pictures / (median + extra),
                "times_plain": ratio("plain"),
                "times_fastest_plain": ratio(fastest),
                "seconds": times,
            }
        )
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows for people."""
    lines = [
        f"{'loop':26} {'images/s':>9} {'+ decoding':>11} {'x plain':>8} {'x fastest plain':>16} "
        f"{'peak MiB':>9}"
    ]
    lines += [
        f"{r['loop']:26} {r['images_per_s']:9.2f} {r['with_decoding']:11.2f} "
        f"{r['times_plain']:8.2f} {r['times_fastest_plain']:16.2f} "
        f"{r['peak_mib']:9}"
        for r in rows
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m bench.train --data DIR [--pictures 64] [--rounds 5] [--json OUT] …``."""
    parser = argparse.ArgumentParser(prog="python -m bench.train", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="paper")
    parser.add_argument("--pictures", type=int, default=64, metavar="N", help="per round and loop")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N")
    parser.add_argument("--size", type=int, default=224, metavar="PX")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--threads", type=int, default=default_threads(), metavar="N")
    parser.add_argument("--loaders", type=int, metavar="N", help="default: as many as threads")
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures as JSON")
    arguments = parser.parse_args(argv)
    if min(arguments.pictures, arguments.batch_size, arguments.rounds, arguments.threads) < 1:
        raise UsageError("--pictures, --batch-size, --rounds and --threads must be at least 1")
    whole = read_dataset(arguments.data)
    # Whole batches only, so that both loops step on batches of the same size.
    batches = min(arguments.pictures, len(whole.records)) // arguments.batch_size
    if not batches:
        raise DatasetError("there are fewer pictures than one batch has")
    chosen = np.random.default_rng(0).permutation(len(whole.records))
    chosen = np.sort(chosen[: batches * arguments.batch_size])
    dataset = replace(whole, records=tuple(whole.records[i] for i in chosen.tolist()))
    config = plain_config(arguments.recipe, arguments.batch_size, arguments.size)
    loaders = arguments.threads if arguments.loaders is None else arguments.loaders
    makers, facts = loops_of(dataset, config, loaders)
    with ExitStack() as stack:
        loops = {
            name: stack.enter_context(
                Apart(name, make, threads=arguments.threads, keeps_blocks=name.startswith("ours"))
            )
            for name, make in makers.items()
        }
        seconds = measure(loops, arguments.rounds)
    pictures = len(dataset.records)
    rows = rows_of(seconds, pictures, facts["decoding_once_s"], config.epochs)
    for row in rows:
        row["peak_mib"] = loops[row["loop"]].peak_mib
    print(table(rows))
    print(
        f"recipe {arguments.recipe}, {pictures} pictures, batches of {config.batch_size}, "
        f"{config.size} px, {arguments.rounds} rounds, {arguments.threads} threads; decoding once "
        f"took {facts['decoding_once_s']:.1f} s, spread over {config.epochs} epochs"
    )
    if arguments.json:
        result = {
            "machine": machine(arguments.threads),
            "recipe": arguments.recipe,
            "pictures": pictures,
            "batch_size": config.batch_size,
            "size": config.size,
            "rounds": arguments.rounds,
            **facts,
            "rows": rows,
        }
        registry.write_atomic(arguments.json, (json.dumps(result, indent=2) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(run_cli(main))
