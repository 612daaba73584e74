"""How many machines for so many studies a year, from figures that `make bench` measured.

    studies in the peak hour = studies a year / working days x share of a day in its peak hour
                               x how much busier the busiest day is
    images per second        = studies in the peak hour x images per study / 3600
    machines                 = images per second / (share of a machine that may be used x rate)

``python -m bench.capacity STATE/bench.json`` prints the table of docs/scaling.md.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Year:
    """What is assumed of a service that takes ``studies`` a year."""

    studies: int
    days: int = 250
    peak_share: float = 0.15
    busiest: float = 1.3
    images: float = 4.0
    mib_per_image: float = 0.4
    # Above this, queues grow at random.
    used: float = 0.6

    @property
    def peak_studies_per_hour(self) -> float:
        return self.studies / self.days * self.peak_share * self.busiest

    @property
    def peak_images_per_s(self) -> float:
        return self.peak_studies_per_hour * self.images / 3600

    @property
    def tib_per_year(self) -> float:
        return self.studies * self.images * self.mib_per_image / 1024**2


def machines(needed_per_s: float, rate: float, used: float) -> int:
    """Machines of ``rate`` that bear so much; one at least."""
    return max(1, math.ceil(needed_per_s / (used * rate)))


@dataclass(frozen=True)
class Rates:
    """Per second, on one machine of two cores each."""

    answered: float
    uploads: float


def rates_of(bench: dict[str, object]) -> Rates:
    """From `bench.json`. ``KeyError`` where a part was not measured."""
    parts = bench["parts"]
    assert isinstance(parts, dict)

    def value(part: str, what: str) -> float:
        return next(f["value"] for f in parts[part]["figures"] if f["what"] == what)

    return Rates(value("end", "answered and stored"), value("uploads", "accepted"))


def table(rates: Rates, studies: Sequence[int]) -> str:
    lines = [
        f"{'studies a year':>15} {'peak studies/h':>15} {'peak images/s':>14} "
        f"{'inference':>10} {'web':>5} {'TiB a year':>11}"
    ]
    for count in studies:
        year = Year(count)
        workers = machines(year.peak_images_per_s, rates.answered, year.used)
        webs = machines(year.peak_images_per_s, rates.uploads, year.used)
        lines.append(
            f"{count:15,} {year.peak_studies_per_hour:15.0f} {year.peak_images_per_s:14.2f} "
            f"{workers:10} {webs:5} {year.tib_per_year:11.2f}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.capacity", description=__doc__)
    parser.add_argument("bench", type=Path, metavar="STATE/bench.json")
    parser.add_argument(
        "--studies", type=int, nargs="+", default=[10_000, 100_000, 500_000, 2_000_000]
    )
    arguments = parser.parse_args(argv)
    rates = rates_of(json.loads(arguments.bench.read_text()))
    print(f"measured: {rates.answered:.1f} images/s answered, {rates.uploads:.1f} uploads/s")
    print(table(rates, arguments.studies))
    return 0


if __name__ == "__main__":
    sys.exit(main())
