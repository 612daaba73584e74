"""The overview in words, in parts of which only what changed is sent again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.core.cache import cache
from django.utils import timezone
from django.utils.translation import get_language, gettext, gettext_noop, ngettext
from redis.exceptions import RedisError

from cases.access import Actor
from cases.portal.audit import SEAL_OVERDUE
from cases.portal.lazily import lazy as _
from cases.portal.watch import alert_words
from cases.portal.wording import StateWords
from cases.reports.hours_plot import HourBar, hours_svg, hours_title
from cases.selectors.dead_letters import dead_letter_page
from cases.selectors.figures import Waiting
from cases.selectors.health import readiness
from cases.selectors.overview import (
    Doing,
    Hours,
    Worker,
    disks_now,
    hours_now,
    live_model,
    next_firing,
    queue_now,
    workers_now,
)
from cases.selectors.reader_first import many_answers_required
from cases.selectors.room import Shortage, shortage_now
from cases.selectors.seals import seal_state
from cases.selectors.serving import suspension_now
from cases.selectors.watch import watch
from cases.vocabulary import JobKind, PriorityRank
from cases.watching import WatchFilter
from cases.words import local

log = structlog.get_logger(__name__)

FAILURES = 5
# Figures of a month change slowly, and counting them is not cheap.
WATCH_KEPT_S = 600

SERVICES = {
    "inference": _("Reads images"),
    "training": _("Trains models"),
    "webhooks": _("Delivers webhooks"),
    "beat": _("Keeps the schedule"),
}
KINDS = {
    JobKind.INFERENCE.value: _("Images"),
    JobKind.REPLAY.value: _("Answers computed again"),
    JobKind.SHADOW.value: _("For the model in shadow"),
    JobKind.TRAINING.value: _("Trainings"),
    JobKind.FREEZE.value: _("Snapshots"),
}
PRIORITIES = {
    PriorityRank.STAT.value: _("stat"),
    PriorityRank.URGENT.value: _("urgent"),
    PriorityRank.ROUTINE.value: _("routine"),
}
# The words of `selectors`, which programs read too: translated where the page shows them.
_TOLD = (
    gettext_noop("migrations are not applied"),
    gettext_noop("no inference worker is ready"),
    gettext_noop("the database does not answer"),
    gettext_noop("the storage does not answer"),
    gettext_noop("Redis does not answer"),
    gettext_noop("uploads"),
    gettext_noop("database"),
)
SHORTAGES = {
    Shortage.QUEUE: _("No: more images wait than the service takes on"),
    Shortage.DISK: _("No: the disk is nearly full"),
}


@dataclass(frozen=True)
class Part:
    """One part of the page; ``seen`` changes exactly when it would look different."""

    name: str
    context: Mapping[str, Any]
    seen: str


@dataclass(frozen=True)
class QueueLine:
    what: str
    jobs: int
    oldest: str


@dataclass(frozen=True)
class WorkerLine:
    worker: Worker
    state: StateWords
    words: str
    does: str
    doing: str

    @property
    def where(self) -> str:
        return self.worker.name.partition("@")[2]


def parts_of(actor: Actor) -> list[Part]:
    """All parts of the page, in its order."""
    return [make(actor) for make in (_now, _workers, _failures, _hours, _service)]


def _part(name: str, context: Mapping[str, Any], told: object = None) -> Part:
    """``told``: what the part shows of its context, where that is not all of it."""
    shown = repr(sorted(context.items()) if told is None else told)
    return Part(name, context, hashlib.sha256(shown.encode()).hexdigest()[:10])


def span_words(seconds: float) -> str:
    """ "40 s", "12 min", "3 h", "2 days": how long, as coarse as it may be told."""
    if seconds < 90:
        # In steps, so that a page at rest stays at rest.
        return f"{int(seconds // 5 * 5)} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    if seconds < 48 * 3600:
        return f"{round(seconds / 3600)} h"
    return gettext("%(days)d days") % {"days": round(seconds / 86_400)}


def size_words(size: int) -> str:
    """As coarse as it may be told: a page at rest should stay at rest."""
    gib = size / 1024**3
    if gib >= 1:
        return f"{gib:.0f} GiB" if gib >= 20 else local(f"{gib:.1f} GiB")
    return f"{size / 1024**2:.0f} MiB"


def _now(actor: Actor) -> Part:
    """Is everything there, what waits, is new work taken in."""
    waiting = queue_now(actor=actor)
    images = [row for row in waiting if row.kind == JobKind.INFERENCE]
    faults, _ = readiness()
    shortage = shortage_now()
    context = {
        "faults": tuple(gettext(fault["detail"]) for fault in faults),
        "suspension": suspension_now(),
        "refuses": SHORTAGES[shortage] if shortage else "",
        "queue": tuple(_queue_line(row) for row in waiting),
        "images": sum(row.jobs for row in images),
        "oldest": span_words(max((row.oldest_s for row in images), default=0)),
        "limit": settings.BCWEB_MAX_QUEUE,
    }
    return _part("now", context)


def _queue_line(row: Waiting) -> QueueLine:
    what = KINDS[row.kind]
    if row.kind == JobKind.INFERENCE:
        what = f"{what}, {PRIORITIES[row.priority]}"
    return QueueLine(what, row.jobs, span_words(row.oldest_s))


def _workers(actor: Actor) -> Part:
    lines = tuple(_worker_line(worker) for worker in workers_now(actor=actor))
    # One that fell silent stands in the table.
    seen = {line.worker.kind for line in lines}
    missing = "; ".join(
        f"{words[:1].lower()}{words[1:]}" for kind, words in SERVICES.items() if kind not in seen
    )
    # Not when each of them was seen last: that changes with every beat.
    told = [(line.worker.name, line.words, line.doing, line.worker.model) for line in lines]
    return _part("workers", {"lines": lines, "missing": missing}, (told, missing))


def _worker_line(worker: Worker) -> WorkerLine:
    if not worker.alive:
        words, state = gettext("Silent"), StateWords("alert", "alert", "", "")
    elif not worker.ready:
        words, state = gettext("Not ready"), StateWords("clock", "caution", "", "")
    elif worker.doing:
        words, state = gettext("At work"), StateWords("scan", "info", "", "")
    else:
        words, state = gettext("Waits for work"), StateWords("live", "good", "", "")
    doing = "; ".join(_doing(one) for one in worker.doing)
    return WorkerLine(worker, state, words, SERVICES.get(worker.kind, worker.kind), doing)


def _doing(doing: Doing) -> str:
    """ "3 images", "1 answer again"."""
    told = {
        JobKind.INFERENCE: ngettext("%(n)d image", "%(n)d images", doing.jobs),
        JobKind.REPLAY: ngettext("%(n)d answer again", "%(n)d answers again", doing.jobs),
        JobKind.SHADOW: ngettext("%(n)d image in shadow", "%(n)d images in shadow", doing.jobs),
        JobKind.TRAINING: ngettext("%(n)d training", "%(n)d trainings", doing.jobs),
        JobKind.FREEZE: ngettext("%(n)d snapshot", "%(n)d snapshots", doing.jobs),
    }
    return told[JobKind(doing.kind)] % {"n": doing.jobs}


def _failures(actor: Actor) -> Part:
    page = dead_letter_page(actor=actor, size=FAILURES)
    told = [job.pk for job in page.rows], page.has_older
    return _part("failures", {"jobs": page.rows, "more": page.has_older}, told)


def _hours(actor: Actor) -> Part:
    hours: Hours = hours_now(actor=actor)
    bars = tuple(
        HourBar(f"{timezone.localtime(hour.begin):%H:%M}", hour.done, hour.failed)
        for hour in hours.hours
    )
    context = {
        "bars": bars,
        "title": hours_title(bars),
        "svg": hours_svg(bars),
        "at": hours.at.replace(second=0, microsecond=0) if hours.at else None,
    }
    return _part("hours", context)


def _service(actor: Actor) -> Part:
    """Room, model, schedule and audit chain."""
    seals = seal_state(actor=actor)
    oldest = seals.oldest_unsealed_at
    overdue = oldest is not None and oldest < timezone.now() - SEAL_OVERDUE
    firing = next_firing(actor=actor)
    context = {
        "disks": tuple(
            {
                "holds": gettext(" and ").join(gettext(holds) for holds in disk.holds),
                "free": size_words(disk.free),
                "total": size_words(disk.total),
                "reserve": size_words(disk.reserve) if disk.reserve else "",
                "is_short": disk.is_short,
            }
            for disk in disks_now(actor=actor)
        ),
        "database_elsewhere": settings.POSTGRES_DATA is None,
        "model": live_model(actor=actor),
        "schedule": (firing.schedule.pk, firing.schedule.name) if firing else None,
        "fires_at": firing.at if firing else None,
        "sealed_at": seals.head.sealed_at if seals.head else None,
        "sealed": f"{seals.head.number}:{seals.head.hash}" if seals.head else "",
        "seal_overdue": overdue,
        "unsealed_since": oldest if overdue else None,
    }
    return _part("service", context)


def watch_told(actor: Actor) -> dict[str, Any]:
    """The alerts of what is watched at the site, counted anew every ten minutes at most."""
    # What is kept was counted for somebody else, perhaps before the site read first.
    many_answers_required(actor)
    # Its alerts are sentences.
    key = f"overview-watch-{actor.own_site}-{get_language()}"
    try:
        kept: dict[str, Any] | None = cache.get(key)
    except (RedisError, OSError) as error:
        log.warning("overview_cache", error=type(error).__name__)
        kept = None
    if kept is not None:
        return kept
    now: datetime = timezone.now()
    since = now - timedelta(days=settings.BCWEB_WATCH_DAYS)
    told = watch(actor=actor, wanted=WatchFilter(since=since))
    counted = {
        "alerts": [alert_words(alert, told.days) for alert in told.alerts],
        "images": sum(row.recent.images for row in told.totals),
        "judged": any(row.drift is not None and row.drift.psi is not None for row in told.totals),
        "days": told.days,
        "at": now,
    }
    try:
        cache.set(key, counted, WATCH_KEPT_S)
    except (RedisError, OSError) as error:
        log.warning("overview_cache", error=type(error).__name__)
    return counted
