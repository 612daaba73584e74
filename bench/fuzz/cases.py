"""The files of a run: number `n` of seed `s` is always the same."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from bench.fuzz.bits import ANY, Mutation, Rng, pick
from bench.fuzz.containers import BY_KIND
from bench.fuzz.dicom import DICOM, bomb
from bench.fuzz.seeds import Seed, seeds

_MAX_BYTES = 8 * 2**20
_BY_KIND: dict[str, tuple[Mutation, ...]] = {**BY_KIND, "dicom": DICOM}


@dataclass(frozen=True)
class Case:
    """One mutated file: what it was made of, and how."""

    number: int
    seed: Seed
    mutations: tuple[str, ...]
    data: bytes

    @property
    def name(self) -> str:
        return f"{self.number} ({self.seed.name}: {', '.join(self.mutations)})"


def case(seed: int, number: int) -> Case:
    """File `number` of the run with this seed: one to three mutations of a valid file."""
    rng = np.random.default_rng([seed, number])
    origin = pick(rng, seeds())
    data, done = origin.data, []
    for _ in range(int(rng.integers(1, 4))):
        mutate = _choose(rng, origin.kind)
        if len(data) < 8 or len(data) > _MAX_BYTES:
            break
        try:
            data = mutate(rng, data)
        except (struct.error, IndexError, ValueError):
            # An earlier mutation took away the structure that this one keeps to.
            mutate = pick(rng, ANY)
            data = mutate(rng, data)
        done.append(mutate.__name__)
        if mutate is bomb:
            break  # to unfold it for the next mutation would cost more than the child's work
    return Case(number, origin, tuple(done), data)


def _choose(rng: Rng, kind: str) -> Mutation:
    return pick(rng, _BY_KIND[kind] if rng.random() < 0.7 else ANY)
