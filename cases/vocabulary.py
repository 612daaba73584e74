"""Closed vocabularies of a case, in the words of DICOM, BI-RADS and the contract."""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Sex(StrEnum):
    """Patient's Sex (0010,0040)."""

    MALE = "M"
    FEMALE = "F"
    OTHER = "O"


class Laterality(StrEnum):
    """Which breast. L, R and B as Image Laterality (0020,0062); `unknown` where nobody said."""

    LEFT = "L"
    RIGHT = "R"
    BOTH = "B"
    UNKNOWN = "unknown"


class Quadrant(StrEnum):
    """Location within the breast, as the ACR BI-RADS atlas names it."""

    UPPER_OUTER = "upper_outer"
    UPPER_INNER = "upper_inner"
    LOWER_OUTER = "lower_outer"
    LOWER_INNER = "lower_inner"
    CENTRAL = "central"
    AXILLARY_TAIL = "axillary_tail"


class Indication(StrEnum):
    SYMPTOMATIC = "symptomatic"
    RECALL = "recall"
    FOLLOW_UP = "follow_up"
    SUPPLEMENTAL = "supplemental"
    STAGING = "staging"
    POST_TREATMENT = "post_treatment"


class Priority(StrEnum):
    ROUTINE = "routine"
    URGENT = "urgent"
    STAT = "stat"


class PriorityRank(IntEnum):
    """How `Priority` is stored: smaller goes first."""

    STAT = 0
    URGENT = 1
    ROUTINE = 2


class OnBadFile(StrEnum):
    REJECT_ALL = "reject_all"
    SKIP = "skip"


class JobKind(StrEnum):
    INFERENCE = "inference"
    TRAINING = "training"
    # A stored result computed again, to see whether it comes out the same.
    REPLAY = "replay"


# What inference workers do, in one order: read images, and compute stored results again.
ENGINE_KINDS = (JobKind.INFERENCE, JobKind.REPLAY)


class TrainingRecipe(StrEnum):
    """The recipes of `ml.config`: ours, and that of the paper this work follows."""

    BCWEB = "bcweb"
    PAPER = "paper"


class IfRunning(StrEnum):
    """What a request for a training does while another one is on."""

    QUEUE = "queue"
    REFUSE = "refuse"


class FiringOutcome(StrEnum):
    """What came of a schedule's firing."""

    STARTED = "started"
    NOT_MET = "not_met"
    REFUSED = "refused"


# There is one line of models here; runs of one line come one after the other.
MODEL_LINE = "main"


class Outcome(StrEnum):
    """What the model did with an image. Abstained and refused are never negative answers."""

    ANSWERED = "answered"
    ABSTAINED = "abstained"
    REFUSED = "refused"


class Label(StrEnum):
    BENIGN = "benign"
    MALIGNANT = "malignant"
    NORMAL = "normal"


# Which quadrants a clock position can lie in. Seen from the front, the right breast's outer half
# is on the viewer's left (7 to 11 o'clock), the left breast's on the viewer's right (1 to 5).
_CLOCK_RIGHT: dict[int, frozenset[Quadrant]] = {
    12: frozenset({Quadrant.UPPER_OUTER, Quadrant.UPPER_INNER}),
    1: frozenset({Quadrant.UPPER_INNER}),
    2: frozenset({Quadrant.UPPER_INNER}),
    3: frozenset({Quadrant.UPPER_INNER, Quadrant.LOWER_INNER}),
    4: frozenset({Quadrant.LOWER_INNER}),
    5: frozenset({Quadrant.LOWER_INNER}),
    6: frozenset({Quadrant.LOWER_INNER, Quadrant.LOWER_OUTER}),
    7: frozenset({Quadrant.LOWER_OUTER}),
    8: frozenset({Quadrant.LOWER_OUTER}),
    9: frozenset({Quadrant.LOWER_OUTER, Quadrant.UPPER_OUTER}),
    10: frozenset({Quadrant.UPPER_OUTER, Quadrant.AXILLARY_TAIL}),
    11: frozenset({Quadrant.UPPER_OUTER, Quadrant.AXILLARY_TAIL}),
}


def clock_allows_quadrant(laterality: Laterality, clock: int, quadrant: Quadrant) -> bool:
    """Whether ``clock`` (1 to 12) on that breast can lie in ``quadrant``.

    Without a side every clock position of the upper (lower) half fits every upper (lower)
    quadrant. The central zone lies under every clock position.
    """
    if quadrant is Quadrant.CENTRAL:
        return True
    # The left breast mirrors the right: 1 o'clock there is 11 o'clock here.
    mirrored = 12 - clock if clock != 12 else 12
    if laterality is Laterality.RIGHT:
        return quadrant in _CLOCK_RIGHT[clock]
    if laterality is Laterality.LEFT:
        return quadrant in _CLOCK_RIGHT[mirrored]
    return quadrant in _CLOCK_RIGHT[clock] | _CLOCK_RIGHT[mirrored]
