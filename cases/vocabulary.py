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
    # A job that was answered, answered again by the model in shadow: nobody waits for it.
    SHADOW = "shadow"
    # Accepted images made into a snapshot.
    FREEZE = "freeze"


# What inference workers do, in one order: read images, and compute stored results again.
ENGINE_KINDS = (JobKind.INFERENCE, JobKind.REPLAY)


class GateState(StrEnum):
    """What the gate of a frozen plan said of a model."""

    PASSED = "passed"
    FAILED = "failed"
    INSUFFICIENT_EVIDENCE = "insufficient_evidence"


class GateMetric(StrEnum):
    """What a limit of a gate plan can be about: `ml.limits.METRICS`."""

    ACCURACY = "accuracy"
    MACRO_F1 = "macro_f1"
    AUC_MALIGNANT = "auc_malignant"
    AUC_MACRO = "auc_macro"
    SPECIFICITY_AT_95_SENSITIVITY = "specificity_at_95_sensitivity"
    BRIER = "brier"
    ECE = "ece"
    SENSITIVITY = "sensitivity"
    SPECIFICITY = "specificity"
    COVERAGE = "coverage"


# Of these less is better; of all others more is.
BETTER_BELOW = frozenset({GateMetric.BRIER, GateMetric.ECE})


class LimitAgainst(StrEnum):
    """What a limit holds to its bound: the figure, or its difference to the active model's."""

    ABSOLUTE = "absolute"
    ACTIVE = "active"


class LimitBy(StrEnum):
    """The unfavourable end of the 95 % interval, or the figure itself."""

    INTERVAL = "interval"
    VALUE = "value"


class Decision(StrEnum):
    """How a request to promote a model ended."""

    APPROVED = "approved"
    DECLINED = "declined"
    WITHDRAWN = "withdrawn"


class ServingChange(StrEnum):
    SUSPENDED = "suspended"
    RESUMED = "resumed"


class ModelFaultCode(StrEnum):
    """Why a model file was refused."""

    FILE_DAMAGED = "file_damaged"
    NOT_LOADABLE = "not_loadable"


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

# Why a training that waited was called off, or one that ran was ended, by the service itself.
PICTURES_TAKEN_BACK = "pictures_taken_back"


class SnapshotLineage(StrEnum):
    """Of which snapshots a schedule takes the newest."""

    ANY = "any"
    # Of the site's accepted images, made to train from.
    FROZEN = "frozen"
    # Of the imported folder of one name.
    IMPORTED = "imported"


class SnapshotRole(StrEnum):
    """What a snapshot of accepted images is for. A patient is in one of the two, for ever."""

    TRAINING = "training"
    LOCKED = "locked"


class CandidateConflict(StrEnum):
    """Why the findings of a case do not say by themselves what an image shows."""

    # Another finding of this breast turned out to be of another class.
    FINDINGS = "findings"
    # The image is of one breast, its finding lies in the other.
    SIDE = "side"


class Outcome(StrEnum):
    """What the model did with an image. Abstained and refused are never negative answers."""

    ANSWERED = "answered"
    ABSTAINED = "abstained"
    REFUSED = "refused"


class Label(StrEnum):
    BENIGN = "benign"
    MALIGNANT = "malignant"
    NORMAL = "normal"


class Circumstance(StrEnum):
    """What a person may state of a breast at an examination, because no file says it."""

    IMPLANT = "implant"
    LACTATING = "lactating"
    TREATED = "treated"


class EvidenceFlag(StrEnum):
    """Why an image lies outside what the models were tested on. It never changes an answer."""

    MALE = "male"
    UNDER_18 = "under_18"
    IMPLANT = "implant"
    LACTATING = "lactating"
    TREATED = "treated"
    DOPPLER = "doppler"


class BiradsEdition(StrEnum):
    """The edition of the ACR BI-RADS atlas a category is meant in; the next is a new value."""

    FIFTH_2013 = "birads_5_2013"


class BiradsCategory(StrEnum):
    """A person's assessment of a breast or finding. Never made from a model's score."""

    C0 = "0"
    C1 = "1"
    C2 = "2"
    C3 = "3"
    C4A = "4A"
    C4B = "4B"
    C4C = "4C"
    C5 = "5"
    C6 = "6"


class ReadingLabel(StrEnum):
    """What a reader calls a finding; `none` where they commit themselves to no class."""

    BENIGN = "benign"
    MALIGNANT = "malignant"
    NORMAL = "normal"
    NONE = "none"


class Pathology(StrEnum):
    """What a finding turned out to be. `high_risk`: B3, of uncertain malignant potential."""

    INVASIVE = "invasive"
    IN_SITU = "in_situ"
    HIGH_RISK = "high_risk"
    BENIGN = "benign"
    INSUFFICIENT = "insufficient"


class OutcomeBasis(StrEnum):
    """How it is known. `follow_up`: unchanged for at least `STABLE_MONTHS` months."""

    HISTOLOGY = "histology"
    FOLLOW_UP = "follow_up"
    READER_ONLY = "reader_only"


STABLE_MONTHS = 24
# The classes that an outcome can speak for; "normal" is none of them.
OUTCOME_LABELS = (Label.BENIGN, Label.MALIGNANT)

_TRAINING_LABELS: dict[Pathology, Label] = {
    Pathology.INVASIVE: Label.MALIGNANT,
    Pathology.IN_SITU: Label.MALIGNANT,
    Pathology.BENIGN: Label.BENIGN,
}


def training_label(pathology: Pathology) -> Label | None:
    """What a model may learn from a finding with this outcome; None: nothing."""
    return _TRAINING_LABELS.get(pathology)


class WebhookEvent(StrEnum):
    """What a webhook can be told: moves of jobs, and a test."""

    JOB_CREATED = "job.created"
    JOB_STARTED = "job.started"
    JOB_REQUEUED = "job.requeued"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELLED = "job.cancelled"
    PING = "ping"


# What a webhook subscribes to: every one gets the pings that are asked for.
SUBSCRIBABLE = tuple(event for event in WebhookEvent if event is not WebhookEvent.PING)


class AttemptOutcome(StrEnum):
    """How one attempt to deliver a message to a webhook ended."""

    DELIVERED = "delivered"
    BAD_STATUS = "bad_status"
    REDIRECTED = "redirected"
    GONE = "gone"
    TIMED_OUT = "timed_out"
    NOT_RESOLVED = "not_resolved"
    ADDRESS_REFUSED = "address_refused"
    NOT_CONNECTED = "not_connected"
    TLS_FAILED = "tls_failed"
    BAD_ANSWER = "bad_answer"
    # The deliverer ended in the middle: nobody knows what the receiver got.
    INTERRUPTED = "interrupted"
    # The key that the secret was sealed with is another one now.
    SECRET_UNREADABLE = "secret_unreadable"


class WebhookOff(StrEnum):
    """Why a webhook is switched off."""

    BY_HAND = "by_hand"
    FAILING = "failing"
    GONE = "gone"


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


class LockKind(StrEnum):
    """What failed attempts to sign in are counted by."""

    NAME = "name"
    ADDRESS = "address"
    # Codes of a second factor, of one user whose password was right.
    FACTOR = "factor"
