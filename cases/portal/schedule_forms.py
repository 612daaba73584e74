"""The form of a training schedule as data, and a schedule in words."""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass, replace

from cron_descriptor import (
    FormatException,
    MissingFieldException,
    Options,
    WrongArgumentException,
    get_description,
)
from django.utils.dates import MONTHS, WEEKDAYS
from django.utils.translation import get_language, gettext, ngettext
from django_celery_beat.models import CrontabSchedule

from cases.models import GatePlan, TrainingSchedule
from cases.portal.forms import FieldSpec
from cases.portal.gate_forms import plan_field
from cases.portal.lazily import lazy as _
from cases.portal.training_forms import EPOCHS, INIT, LIMIT, RECIPE, SEED, SIZE
from cases.portal.wording import StateWords
from cases.services.schedule_fields import Lineage
from cases.services.schedules import lineage_of
from cases.vocabulary import SnapshotLineage

# Of the languages of the pages, what the words of cron lines come in.
_CRON_LOCALES = {"de": "de_DE"}

START_FROM = replace(INIT, width="two-thirds", hint=_("Weights the training begins with."))
NAME = FieldSpec(
    "name", _("Name"), max_length=80, hint=_("For example: nightly, or after each import.")
)
TIMING = FieldSpec(
    "timing",
    _("It starts"),
    kind="radios",
    choices=(("cron", _("At set times (a cron line)")), ("interval", _("Every so often"))),
    default="cron",
)
CRON = FieldSpec(
    "cron",
    _("Cron line"),
    hint=_(
        "Minute, hour, day of the month, month, day of the week. 30 2 * * 1 is 02:30 each Monday."
    ),
    max_length=200,
    default="30 2 * * *",
)
EVERY = FieldSpec(
    "every", _("Every"), kind="number", minimum="1", step="1", default="7", width="third"
)
PERIOD = FieldSpec(
    "period",
    _("Unit"),
    kind="select",
    choices=(("minutes", _("minutes")), ("hours", _("hours")), ("days", _("days"))),
    default="days",
    width="third",
)
MIN_NEW = FieldSpec(
    "min_new_images",
    _("Only with at least so many new labelled images"),
    kind="number",
    minimum="0",
    step="1",
    default="0",
    hint=_(
        "In the snapshot it would train from, by content, against that of the last finished "
        "training from such a snapshot. "
        "0: without this condition."
    ),
)
WINDOW_START = FieldSpec(
    "window_start",
    _("Only from"),
    kind="time",
    width="third",
    hint=_("Empty: at any hour."),
)
WINDOW_END = FieldSpec(
    "window_end",
    _("Until"),
    kind="time",
    width="third",
    hint=_("May be past midnight. Both, or neither."),
)
ENABLED = FieldSpec(
    "enabled",
    _("The schedule is"),
    kind="radios",
    choices=(("on", _("On")), ("off", _("Off"))),
    default="on",
)
LINEAGE = FieldSpec(
    "lineage",
    _("Train from the newest snapshot"),
    kind="select",
    choices=(
        (SnapshotLineage.ANY.value, _("of whatever kind")),
        (SnapshotLineage.FROZEN.value, _("of this site's accepted images")),
    ),
    default=SnapshotLineage.ANY.value,
    hint=_("One that is locked, or of which images were taken back, is passed over."),
)
SPECS = [
    NAME, TIMING, CRON, EVERY, PERIOD, MIN_NEW, WINDOW_START, WINDOW_END, RECIPE, START_FROM, SEED,
    EPOCHS, SIZE, LIMIT, ENABLED,
]  # fmt: skip

PLAN_HINT = _("What the models of its runs are judged by. Each run freezes it when it starts.")


def schedule_specs(plans: Sequence[GatePlan], folders: Sequence[str] = ()) -> list[FieldSpec]:
    """The fields of a schedule, with the plans its runs can be judged by and the imported folders
    it can be bound to."""
    of_folders = [
        (
            Lineage(SnapshotLineage.IMPORTED, name).text,
            gettext("of the imported folder %(name)s") % {"name": name},
        )
        for name in folders
    ]
    lineage = replace(LINEAGE, choices=(*LINEAGE.choices, *of_folders))
    return [*SPECS, lineage, replace(plan_field(plans), hint=PLAN_HINT)]


FIRINGS = {
    "started": (_("Started a training"), StateWords("done", "good", "", "")),
    "not_met": (_("Condition not met"), StateWords("slash", "neutral", "", "")),
    "refused": (_("Nothing started"), StateWords("caution", "caution", "", "")),
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
        return _every(task.interval.every, task.interval.period)
    assert task.crontab is not None
    return f"{_cron_words(cron_line(task.crontab))} ({task.crontab.timezone})"


def cron_line(cron: CrontabSchedule) -> str:
    """Its five parts as somebody types them: minute, hour, day of month, month, day of week."""
    parts = (cron.minute, cron.hour, cron.day_of_month, cron.month_of_year, cron.day_of_week)
    return " ".join(parts)


def _cron_words(line: str) -> str:
    """ "At 02:30, only on Monday", in the language of the page; the line itself where it has no
    words."""
    options = Options()
    options.locale_code = _CRON_LOCALES.get((get_language() or "en")[:2], "en_US")
    options.use_24hour_time_format = True
    try:
        words: str = get_description(line, options)
    except (MissingFieldException, FormatException, WrongArgumentException):
        return line
    # The library takes the names of days and months from the locale of the process.
    for names, ours in ((calendar.day_name, WEEKDAYS), (calendar.month_name, MONTHS)):
        for number, name in enumerate(names):
            if name:
                words = words.replace(name, str(ours[number]))
    return words


def _every(number: int, period: str) -> str:
    """Periods are those of the form: minutes, hours, days."""
    words = {
        "minutes": ngettext("every minute", "every %(n)d minutes", number),
        "hours": ngettext("every hour", "every %(n)d hours", number),
        "days": ngettext("every day", "every %(n)d days", number),
    }
    return words[period] % {"n": number}


def lineage_words(schedule: TrainingSchedule) -> str:
    """ "the newest snapshot of accepted images"."""
    lineage = lineage_of(schedule)
    if lineage.kind is SnapshotLineage.FROZEN:
        return gettext("the newest snapshot of accepted images")
    if lineage.name:
        words = gettext("the newest snapshot of the imported folder %(name)s")
        return words % {"name": lineage.name}
    return gettext("the newest snapshot of whatever kind")


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
    assert task.crontab is not None
    return typed | {"timing": "cron", "cron": cron_line(task.crontab)}
