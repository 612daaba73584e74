"""What is sent and what strikes when, drawn from a seed: the same seed, the same schedule.

Faults are tied to submissions, not to the clock: a slow machine gets the same night as a fast one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from bench.chaos.poison import DECODER_POISON, ENGINE_POISON

Kind = Literal["good", "join", "again", "race", "cancel", "poison", "refused", "stolen"]

# In a hundred submissions.
WEIGHTS: dict[Kind, int] = {
    "good": 46,
    "join": 10,  # another delivery to the case of the one before
    "again": 12,  # sent once more after it was accepted
    "race": 8,  # sent twice at once
    "cancel": 5,  # its first job is cancelled
    "poison": 6,  # one picture kills the model's process
    "refused": 9,  # a file that must be refused
    "stolen": 4,  # another patient's picture
}
REFUSED = ("truncated", "no-picture", *DECODER_POISON)
MOST_FILES = 4
# Where faults strike, as shares of the submissions: first some must be there.
FIRST, LAST = 0.06, 0.9
# A poison must fail all its attempts: not in the last part, so that the end need not wait for it.
POISON_UNTIL = 0.6
# Each kind of poison and of refusal comes up early, whatever the dice say.
POISON_AT = (1, 4, 7, 11)
REFUSED_AT = (2, 5, 8, 10, 13)
JOBS_PER_ROUND = 150
"""Every kind of fault strikes once for so many jobs, at least once."""


@dataclass(frozen=True)
class File:
    """One file: its name, which makes its bytes, and what is wrong with it."""

    name: str
    wrong: str = ""


@dataclass(frozen=True)
class Sending:
    """One submission. `of`: the earlier one that it joins or takes its picture from."""

    number: int
    kind: Kind
    patient: str
    accession: str
    files: tuple[File, ...]
    of: int | None = None


@dataclass(frozen=True)
class Fault:
    """A fault that strikes once submission `at` has begun; `seed` is for its own choices."""

    kind: str
    at: int
    seed: int


@dataclass(frozen=True)
class Plan:
    """A whole run."""

    seed: int
    sendings: tuple[Sending, ...]
    faults: tuple[Fault, ...] = field(default=())

    @property
    def jobs(self) -> int:
        """How many jobs come of it where nothing is lost."""
        good = (s for s in self.sendings if s.kind not in ("refused", "stolen"))
        return sum(len(sending.files) for sending in good)


def make_plan(seed: int, jobs: int, kinds: Sequence[str]) -> Plan:
    """Draw a run of at least `jobs` jobs in which each of the `kinds` of faults strikes."""
    rng = random.Random(seed)
    sendings: list[Sending] = []
    wanted = jobs
    planned = 0
    while planned < wanted:
        sending = _sending(rng, seed, sendings, late=planned > POISON_UNTIL * wanted)
        sendings.append(sending)
        if sending.kind not in ("refused", "stolen"):
            planned += len(sending.files)
    return Plan(seed, tuple(sendings), _faults(rng, kinds, len(sendings), jobs))


def _sending(rng: random.Random, seed: int, before: list[Sending], *, late: bool) -> Sending:
    number = len(before)
    kind = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    poisons = sum(sending.kind == "poison" for sending in before)
    refused = sum(sending.kind == "refused" for sending in before)
    if number in POISON_AT:
        kind = "poison"
    elif number in REFUSED_AT:
        kind = "refused"
    if (kind == "poison" and late) or (kind in ("join", "stolen") and number < 3):
        kind = "good"
    count = rng.randint(1, MOST_FILES)
    files = [File(f"{seed}-{number}-{place}") for place in range(count)]
    patient, accession, of = f"CHAOS-{seed}-{number}", f"C{number}-{seed % 10**8}", None
    if kind in ("join", "stolen"):
        # One that is accepted for sure, and is not the same as this one.
        sure = [s for s in before[-12:] if s.kind in ("good", "again", "race")]
        if not sure:
            kind = "good"
        else:
            other = rng.choice(sure)
            of = other.number
            if kind == "join":
                patient, accession = other.patient, other.accession
            else:
                files = [rng.choice(other.files)]
    if kind == "poison":
        wrong = list(ENGINE_POISON)[poisons % len(ENGINE_POISON)]
        files = [*files, File(f"{seed}-{number}-mate")]
        files[rng.randrange(len(files))] = File(f"{seed}-{number}-poison", wrong)
    if kind == "refused":
        files[rng.randrange(count)] = File(f"{seed}-{number}-bad", REFUSED[refused % len(REFUSED)])
    return Sending(number, kind, patient, accession, tuple(files), of)


def filler(plan: Plan, number: int) -> Sending:
    """A good submission beyond those planned, so that the last faults too strike a service at
    work: how many are needed depends on the machine, what they are does not."""
    files = tuple(File(f"{plan.seed}-{number}-{place}") for place in range(2))
    accession = f"C{number}-{plan.seed % 10**8}"
    return Sending(number, "good", f"CHAOS-{plan.seed}-{number}", accession, files)


def _faults(
    rng: random.Random, kinds: Sequence[str], sendings: int, jobs: int
) -> tuple[Fault, ...]:
    rounds = max(1, round(jobs / JOBS_PER_ROUND))
    struck: list[str] = []
    for _ in range(rounds):
        # Each round in an order of its own: every kind meets every other one sooner or later.
        struck += rng.sample(list(kinds), len(kinds))
    first, last = FIRST * sendings, LAST * sendings
    step = (last - first) / max(1, len(struck))
    return tuple(
        Fault(kind, int(first + place * step), rng.randrange(2**32))
        for place, kind in enumerate(struck)
    )
