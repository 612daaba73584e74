"""The form of a training schedule as data, and a schedule in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cases.models import GatePlan, TrainingSchedule
from cases.portal.forms import FieldSpec
from cases.portal.gate_forms import plan_field
from cases.portal.training_forms import EPOCHS, INIT, LIMIT, RECIPE, SEED, SIZE
from cases.portal.wording import StateWords
from cases.services.schedule_fields import Lineage
from cases.services.schedules import lineage_of
from cases.vocabulary import SnapshotLineage

NAME = FieldSpec("name", "Name", max_length=80, hint="For example: nightly, or after each import.")
TIMING = FieldSpec(
    "timing",
    "When",
    kind="radios",
    choices=(("cron", "At set times (a cron line)"), ("interval", "Every so often")),
    default="cron",
)
CRON = FieldSpec(
    "cron",
    "Cron line",
    hint="Minute, hour, day of the month, month, day of the week. 30 2 * * 1 is 02:30 each Monday.",
    max_length=200,
    default="30 2 * * *",
)
EVERY = FieldSpec(
    "every", "Every", kind="number", minimum="1", step="1", default="1", width="third"
)
PERIOD = FieldSpec(
    "period",
    "Unit",
    kind="select",
    choices=(("minutes", "minutes"), ("hours", "hours"), ("days", "days")),
    default="days",
    width="third",
)
MIN_NEW = FieldSpec(
    "min_new_images",
    "Only with at least so many new labelled images",
    kind="number",
    minimum="0",
    step="1",
    default="0",
    hint="In the snapshot it would train from, by content, against that of the last finished "
    "training from such a snapshot. "
    "0: without this condition.",
)
WINDOW_START = FieldSpec("window_start", "Only from", kind="time", width="third")
WINDOW_END = FieldSpec(
    "window_end", "to", kind="time", width="third", hint="May be past midnight. Both, or neither."
)
ENABLED = FieldSpec(
    "enabled",
    "The schedule is",
    kind="radios",
    choices=(("on", "On"), ("off", "Off")),
    default="on",
)
LINEAGE = FieldSpec(
    "lineage",
    "Train from the newest snapshot",
    kind="select",
    choices=(
        (SnapshotLineage.ANY.value, "of whatever kind"),
        (SnapshotLineage.FROZEN.value, "of this site's accepted images"),
    ),
    default=SnapshotLineage.ANY.value,
    hint="One that is locked, or of which pictures were taken back, is passed over.",
)
SPECS = [
    NAME, TIMING, CRON, EVERY, PERIOD, MIN_NEW, WINDOW_START, WINDOW_END, RECIPE, INIT, SEED,
    EPOCHS, SIZE, LIMIT, ENABLED,
]  # fmt: skip

PLAN_HINT = "What the models of its runs are judged by. Each run freezes it when it starts."


def schedule_specs(plans: Sequence[GatePlan], folders: Sequence[str] = ()) -> list[FieldSpec]:
    """The fields of a schedule, with the plans its runs can be judged by and the imported folders
    it can be bound to."""
    of_folders = [
        (Lineage(SnapshotLineage.IMPORTED, name).text, f"of the imported folder {name}")
        for name in folders
    ]
    lineage = replace(LINEAGE, choices=(*LINEAGE.choices, *of_folders))
    return [*SPECS, lineage, replace(plan_field(plans), hint=PLAN_HINT)]


FIRINGS = {
    "started": ("Started a training", StateWords("done", "good", "", "")),
    "not_met": ("Condition not met", StateWords("slash", "neutral", "", "")),
    "refused": ("Nothing started", StateWords("caution", "caution", "", "")),
}


@dataclass(frozen=True)
class FiringWords:
    words: str
    state: StateWords


def firing_words(outcome: str) -> FiringWords:
    return FiringWords(*FIRINGS[outcome])


def timing_words(schedule: TrainingSchedule) -> str:
    """ "every 6 hours", or the cron line in words."""
    task = schedule.task
    if task.interval is not None:
        if task.interval.every == 1:
            return f"every {task.interval.period.removesuffix('s')}"
        return f"every {task.interval.every} {task.interval.period}"
    assert task.crontab is not None
    words: str = task.crontab.human_readable
    zone = str(task.crontab.timezone)
    return f"{words.removesuffix(zone).strip()} ({zone})"


def lineage_words(schedule: TrainingSchedule) -> str:
    """ "the newest snapshot of accepted images"."""
    return f"the newest snapshot{lineage_of(schedule).words or ' of whatever kind'}"


def typed_of(schedule: TrainingSchedule) -> dict[str, str]:
    """A stored schedule as its form's strings."""
    task = schedule.task
    typed = {
        "name": schedule.name,
        "enabled": "on" if task.enabled else "off",
        "min_new_images": str(schedule.min_new_images),
        "recipe": schedule.recipe,
        "init": schedule.init,
        "seed": str(schedule.seed),
        "plan": str(schedule.plan_id or ""),
        "lineage": lineage_of(schedule).text,
    }
    for name in ("epochs", "size", "limit_images"):
        value = getattr(schedule, name)
        typed[name] = "" if value is None else str(value)
    for name in ("window_start", "window_end"):
        value = getattr(schedule, name)
        typed[name] = "" if value is None else f"{value:%H:%M}"
    if task.interval is not None:
        return typed | {
            "timing": "interval",
            "every": str(task.interval.every),
            "period": task.interval.period,
        }
    cron = task.crontab
    assert cron is not None
    parts = (cron.minute, cron.hour, cron.day_of_month, cron.month_of_year, cron.day_of_week)
    return typed | {"timing": "cron", "cron": " ".join(parts)}
