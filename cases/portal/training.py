"""Training runs as pages show them: states in words, progress, the epoch table, a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext

from cases.models import TrainingEpoch, TrainingRun
from cases.portal.lazily import lazy as _
from cases.portal.wording import StateWords
from cases.reports.curves import CurvePoint, curve_title, loss_curve_svg
from cases.states import JOB, JobState
from cases.told import told
from cases.vocabulary import PICTURES_TAKEN_BACK

RUN_STATES: dict[str, StateWords] = {
    "PENDING": StateWords("clock", "neutral", _("The training waits for its turn."), ""),
    "RUNNING": StateWords("scan", "info", _("The training worker is at it."), ""),
    "SUCCEEDED": StateWords(
        "done", "neutral", _("The training ended with a model that waits for a decision."), ""
    ),
    "FAILED": StateWords(
        "alert", "alert", _("The training ended without a model. The live model still answers."), ""
    ),
    "CANCELLED": StateWords(
        "cross", "neutral", _("The training was called off. The live model still answers."), ""
    ),
}
RUN_LABELS = {
    "PENDING": _("Waiting"),
    "RUNNING": _("Training"),
    "SUCCEEDED": _("Finished"),
    "FAILED": _("Failed"),
    "CANCELLED": _("Cancelled"),
}
# What to do about a failure that has its own name.
NEXT_STEPS = {
    "data_changed": _(
        "Put the image back, or import the folder again and train from the new snapshot."
    ),
    "one_class": _("Import data with malignant images and others."),
    "too_few_cases": _("Import more cases of this class."),
    "data_unusable": _("Import more or other data."),
    "snapshot_unreadable": _("Import the data folder again."),
    "storage_damaged": _("Import the data folder again; tell whoever runs the service."),
    "disk_full": _("Free some space on the training worker's disk, then start the training again."),
    "out_of_memory": _("Give the training worker more memory, or train at a smaller input size."),
    "training_killed": _("Give the training worker more memory, or train at a smaller input size."),
    "worker_lost": _("Look at the training worker's log, then start the training again."),
    "non_finite_loss": _("Train again with another seed or other initial weights."),
    "plan_changed": _("Ask for the training again, with the plan as it is now."),
    "locked_set_changed": _("Put the image back, then start the training again."),
    "locked_set_unreadable": _(
        "Import the locked set's folder again; tell whoever runs the service."
    ),
    "locked_set_taken_back": _("Freeze a new locked set, and declare a plan with it."),
    "pictures_taken_back": _("Make a new snapshot of accepted images, and train from that."),
    "locked_picture_seen": _(
        "Start from other weights, or declare a plan with another locked set."
    ),
    "active_model_unusable": _("Roll back to a model whose file is whole, then start it again."),
    "gate_refused": _("Declare another plan, then start the training again."),
    "gate_crashed": _("Give the training worker more memory, then start the training again."),
    "init_missing": _("Lay the file into the folder, or choose other initial weights."),
    "init_unusable": _("Choose other initial weights."),
}
OTHER_STEP = _("Look at the log, then start it again.")
INIT_WORDS = {"imagenet": _("ImageNet weights"), "none": _("nothing: fresh weights")}


@dataclass(frozen=True)
class EpochRow:
    epoch: int
    train_loss: float | None
    validation_loss: float | None
    accuracy: float | None
    auc: float | None
    size: int | None
    seconds: float | None


@dataclass(frozen=True)
class RunView:
    """A run and what its page says of it."""

    run: TrainingRun
    rows: tuple[EpochRow, ...]
    curve: str
    curve_words: str
    token: str

    @property
    def state(self) -> StateWords:
        return RUN_STATES[self.run.job.state]

    @property
    def label(self) -> str:
        return RUN_LABELS[self.run.job.state]

    @property
    def is_active(self) -> bool:
        return JobState(self.run.job.state) in JOB.active

    @property
    def doing(self) -> str:
        return doing_words(self.run)

    @property
    def eta(self) -> str:
        seconds = (self.run.job.progress or {}).get("eta_seconds")
        return duration_words(seconds) if self.is_active and seconds is not None else ""

    @property
    def share(self) -> int | None:
        """Percent of all steps that are done."""
        progress = self.run.job.progress or {}
        if not self.is_active or progress.get("phase") != "training" or not progress.get("steps"):
            return None
        done: float = (progress["epoch"] - 1) + progress["step"] / progress["steps"]
        return round(100 * done / int(progress["epochs"]))

    @property
    def next_step(self) -> str:
        return NEXT_STEPS.get(self.run.job.error_code, OTHER_STEP)

    @property
    def called_off(self) -> str:
        """Why the service itself called off a run that waited; "" for every other end."""
        job = self.run.job
        is_ours = job.state == JobState.CANCELLED and job.error_code == PICTURES_TAKEN_BACK
        return told(job.error_detail) if is_ours else ""

    @property
    def started_from(self) -> str:
        return started_from(self.run)


def started_from(run: TrainingRun) -> str:
    if run.init_model is not None:
        return gettext("model %(version)s") % {"version": run.init_model.version}
    if run.init in INIT_WORDS:
        return INIT_WORDS[run.init]
    return gettext("the file %(name)s") % {"name": run.init.removeprefix("file:")}


def doing_words(run: TrainingRun) -> str:
    """Where a run is, in a few words: "epoch 3 of 16, step 20 of 31"."""
    if run.job.state == JobState.PENDING:
        if run.job.attempt:
            return gettext("goes on from its checkpoint")
        return gettext("waits for its turn")
    if run.job.state != JobState.RUNNING:
        return ""
    progress = run.job.progress or {}
    if progress.get("phase") == "training":
        words = gettext("epoch %(epoch)s of %(epochs)s, step %(step)s of %(steps)s")
        return words % {name: progress[name] for name in ("epoch", "epochs", "step", "steps")}
    if progress.get("phase") == "judging":
        return gettext("judging the model on the locked set of its plan")
    if progress.get("phase") == "measuring":
        return gettext("measuring the model on the images it has not seen")
    return gettext("checking and reading the images")


def duration_words(seconds: float) -> str:
    """ "about 3 h 20 min", "about 4 min", "less than a minute"."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return gettext("less than a minute")
    hours, minutes = divmod(minutes, 60)
    if hours:
        return gettext("about %(hours)d h %(minutes)02d min") % {"hours": hours, "minutes": minutes}
    return gettext("about %(minutes)d min") % {"minutes": minutes}


def run_view(run: TrainingRun, *, epochs: Sequence[TrainingEpoch] = ()) -> RunView:
    rows = tuple(_row(epoch) for epoch in epochs)
    points = [CurvePoint(r.epoch, r.train_loss, r.validation_loss) for r in rows]
    seen = (
        run.job.state,
        run.job.attempt,
        run.job.progress,
        run.log_tail if epochs or run.job.state != JobState.PENDING else "",
        [(e.epoch, e.values) for e in epochs],
    )
    token = hashlib.sha256(repr(seen).encode()).hexdigest()[:16]
    return RunView(run, rows, loss_curve_svg(points), curve_title(points), token)


def _row(epoch: TrainingEpoch) -> EpochRow:
    values: dict[str, Any] = epoch.values
    size = values.get("size")
    return EpochRow(
        epoch=epoch.epoch,
        train_loss=values.get("train_loss"),
        validation_loss=values.get("val_loss"),
        accuracy=values.get("val_accuracy"),
        auc=values.get("val_auc_malignant"),
        size=None if size is None else int(size),
        seconds=values.get("seconds"),
    )


@dataclass(frozen=True)
class Move:
    """One move of a run, in words."""

    at: datetime
    words: str
    reason: str


def moves_of(run: TrainingRun) -> list[Move]:
    """What happened to a run, oldest first: "Training, by training@host"."""
    moves = []
    for event in run.job.events.all():
        label = RUN_LABELS[event.to_state] if event.from_state else gettext("Asked for")
        what = gettext("%(what)s, by %(who)s") % {"what": label, "who": event.actor}
        moves.append(Move(event.at, what, told(event.reason)))
    return moves


@dataclass(frozen=True)
class RunLine:
    """A run as a list shows it."""

    run: TrainingRun
    state: StateWords
    words: str
    doing: str
    at: datetime


def run_lines(runs: Sequence[TrainingRun]) -> list[RunLine]:
    return [
        RunLine(
            run,
            RUN_STATES[run.job.state],
            RUN_LABELS[run.job.state],
            doing_words(run),
            run.created_at,
        )
        for run in runs
    ]


def lines_token(runs: Sequence[TrainingRun]) -> str:
    """Changes exactly when the list would look different."""
    seen = [(str(run.pk), run.job.state, doing_words(run)) for run in runs]
    return hashlib.sha256(repr(seen).encode()).hexdigest()[:16]
