"""What is watched of the models at work: shapes of the figures. Data, no ORM.

Images are counted once for each version and frame, by their newest answer that was not withdrawn.
Sensitivity, specificity and PPV count findings: one that several images show is above the
threshold where one of them is, and without an answer where none is and one has none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from uuid import UUID

from cases.measures import Calibration, Drift, Share
from cases.vocabulary import OutcomeBasis

# What a device is called whose image says nothing of it, in filters and lists.
NO_DEVICE = "not stated"


class Basis(StrEnum):
    """By what an outcome is known; ``verified`` takes histology and follow-up together."""

    VERIFIED = "verified"
    HISTOLOGY = OutcomeBasis.HISTOLOGY.value
    FOLLOW_UP = OutcomeBasis.FOLLOW_UP.value
    READER_ONLY = OutcomeBasis.READER_ONLY.value


VERIFIED = (OutcomeBasis.HISTOLOGY, OutcomeBasis.FOLLOW_UP)


@dataclass(frozen=True)
class WatchFilter:
    """What is looked at; None: everything. Times: answers from ``since`` to before ``until``."""

    version: UUID | None = None
    site: UUID | None = None
    device: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Mix:
    """What the model said of so many images. ``refused`` by the reason in a word."""

    answered: Mapping[str, int] = field(default_factory=dict)
    abstained: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)

    @property
    def images(self) -> int:
        return sum(self.answered.values()) + self.abstained + self.all_refused

    @property
    def all_refused(self) -> int:
        return sum(self.refused.values())

    def share(self, count: int) -> Share:
        return Share(count, self.images)

    @property
    def abstained_share(self) -> Share:
        return Share(self.abstained, self.images)

    @property
    def refused_share(self) -> Share:
        return Share(self.all_refused, self.images)


@dataclass(frozen=True)
class Known:
    """Findings whose outcome is known, by what the model said: malignant ones and benign ones."""

    malignant_above: int = 0
    malignant_below: int = 0
    malignant_unanswered: int = 0
    benign_above: int = 0
    benign_below: int = 0
    benign_unanswered: int = 0

    @property
    def n(self) -> int:
        return (
            self.malignant_above
            + self.malignant_below
            + self.malignant_unanswered
            + self.benign_above
            + self.benign_below
            + self.benign_unanswered
        )

    @property
    def sensitivity(self) -> Share:
        return Share(self.malignant_above, self.malignant_above + self.malignant_below)

    @property
    def specificity(self) -> Share:
        return Share(self.benign_below, self.benign_below + self.benign_above)

    @property
    def ppv(self) -> Share:
        return Share(self.malignant_above, self.malignant_above + self.benign_above)

    @property
    def sensitivity_all(self) -> Share:
        """With findings that got no answer counted as above the threshold."""
        caught = self.malignant_above + self.malignant_unanswered
        return Share(caught, caught + self.malignant_below)

    @property
    def specificity_all(self) -> Share:
        return Share(
            self.benign_below, self.benign_below + self.benign_above + self.benign_unanswered
        )


@dataclass(frozen=True)
class Verification:
    """Findings the model saw, and of how many histology or follow-up told the outcome."""

    above: Share
    below: Share
    # With an outcome that is neither malignant nor benign: high risk, insufficient.
    neither: int = 0


NOTHING_KNOWN = Verification(Share(0, 0), Share(0, 0))


@dataclass(frozen=True)
class WatchRow:
    """The figures of one version at one site, of one device or (``device`` None) of all.

    ``recent``: the last days of the period, which the alerts are about.
    """

    version_id: UUID
    version: str
    sha256: str
    state: str
    site_id: UUID
    site: str
    device: str | None
    mix: Mix
    recent: Mix
    withdrawn: int
    known: Mapping[Basis, Known]
    verification: Verification
    calibration: Calibration | None
    drift: Drift | None

    @property
    def device_name(self) -> str:
        return "all" if self.device is None else self.device or NO_DEVICE


class AlertKind(StrEnum):
    DRIFT = "drift"
    REFUSED = "refused"
    ABSTAINED = "abstained"


@dataclass(frozen=True)
class WatchAlert:
    kind: AlertKind
    row: WatchRow
    limit: float


@dataclass(frozen=True)
class AlertLimits:
    """From which figures on an alert is raised; shares by the lower end of their interval."""

    psi: float
    far: float
    refused: float
    abstained: float

    def of(self, row: WatchRow) -> Iterator[WatchAlert]:
        if row.drift is not None and row.drift.alerts(psi=self.psi, far=self.far):
            yield WatchAlert(AlertKind.DRIFT, row, self.psi)
        if row.recent.refused_share.surely_above(self.refused):
            yield WatchAlert(AlertKind.REFUSED, row, self.refused)
        if row.recent.abstained_share.surely_above(self.abstained):
            yield WatchAlert(AlertKind.ABSTAINED, row, self.abstained)


@dataclass(frozen=True)
class WatchWeek:
    """What was said of the images of one week, all groups together."""

    week: date
    mix: Mix


@dataclass(frozen=True)
class Watch:
    """All figures of what was asked for; ``days``: length of the recent stretch of time."""

    rows: tuple[WatchRow, ...]
    weeks: tuple[WatchWeek, ...]
    limits: AlertLimits
    days: int

    @property
    def totals(self) -> tuple[WatchRow, ...]:
        return tuple(row for row in self.rows if row.device is None)

    @property
    def alerts(self) -> tuple[WatchAlert, ...]:
        return tuple(alert for row in self.rows for alert in self.limits.of(row))
