"""What an administrator looks at first: who works, what waits, what ended, how much room is left.

The queue, the workers and the disks are the whole service's, which all sites share; only numbers
are told of them. A constant number of queries, none of which grows with what is done.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db.models import Count, Min
from django.db.models.functions import Now
from django.utils import timezone

from cases.access import Actor, Capability
from cases.models import Job, JobTally, ModelEvent, ServiceHeartbeat, TrainingSchedule
from cases.models.tallies import hour_key
from cases.selectors.figures import Waiting, jobs_waiting
from cases.selectors.health import PULSE_LIFE
from cases.selectors.room import MIB
from cases.selectors.schedules import schedule_list
from cases.states import JobState, ModelState
from cases.vocabulary import JobKind

# A process that was silent for longer than this is no news any more.
SILENT_LIFE = timedelta(hours=1)
HOURS = 24


@dataclass(frozen=True)
class Doing:
    """Jobs of one kind that a worker holds, and since when the first of them."""

    kind: str
    jobs: int
    since: datetime


@dataclass(frozen=True)
class Worker:
    """A process with a pulse. ``alive``: it showed one lately; ``ready``: it can take work."""

    name: str
    kind: str
    alive: bool
    ready: bool
    started_at: datetime
    seen_at: datetime
    engine: str
    model: str
    doing: tuple[Doing, ...]


@dataclass(frozen=True)
class Hour:
    """Images answered and failed in one hour."""

    begin: datetime
    done: int
    failed: int


@dataclass(frozen=True)
class Hours:
    """The last day by hours, the one that runs last; complete up to ``at`` (None: never yet)."""

    hours: tuple[Hour, ...]
    at: datetime | None

    @property
    def done(self) -> int:
        return sum(hour.done for hour in self.hours)

    @property
    def failed(self) -> int:
        return sum(hour.failed for hour in self.hours)


@dataclass(frozen=True)
class Disk:
    """A disk of this machine and what lies on it. ``reserve``: below this nothing is taken in."""

    holds: tuple[str, ...]
    free: int
    total: int
    reserve: int

    @property
    def is_short(self) -> bool:
        return self.free < self.reserve


@dataclass(frozen=True)
class LiveModel:
    """The model that answers, and since when."""

    model_id: str
    version: str
    since: datetime | None


@dataclass(frozen=True)
class NextFiring:
    """When a schedule fires next: about then, since beat looks at its rows in turns."""

    schedule: TrainingSchedule
    at: datetime


def queue_now(*, actor: Actor) -> list[Waiting]:
    """What waits in the whole service, by kind and priority."""
    actor.require(Capability.OPERATE)
    return jobs_waiting()


def workers_now(*, actor: Actor) -> list[Worker]:
    """Who works, or fell silent within the last hour, and at what. Two queries."""
    actor.require(Capability.OPERATE)
    held: dict[str, list[Doing]] = {}
    running = Job.objects.filter(state=JobState.RUNNING).values("worker", "kind")
    for row in running.annotate(jobs=Count("id"), since=Min("started_at")).order_by("kind"):
        held.setdefault(row["worker"], []).append(Doing(row["kind"], row["jobs"], row["since"]))
    pulses = ServiceHeartbeat.objects.filter(seen_at__gt=Now() - SILENT_LIFE)
    now = timezone.now()
    return [
        Worker(
            name=pulse.name,
            kind=pulse.kind,
            alive=now - pulse.seen_at <= PULSE_LIFE,
            ready=pulse.ready,
            started_at=pulse.started_at,
            seen_at=pulse.seen_at,
            engine=str(pulse.details.get("engine", "")),
            model=str(pulse.details.get("model", "")),
            doing=tuple(held.get(pulse.name, ())),
        )
        for pulse in pulses.order_by("kind", "name")
    ]


def hours_now(*, actor: Actor) -> Hours:
    """Images answered and failed in each of the last ``HOURS`` hours, from the counts of moves."""
    actor.require(Capability.OPERATE)
    tally = JobTally.objects.first()
    told = tally.counts.get("hours", {}).get(JobKind.INFERENCE.value, {}) if tally else {}
    last = timezone.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    begins = [last - timedelta(hours=back) for back in reversed(range(HOURS))]
    hours = []
    for begin in begins:
        ended = told.get(hour_key(begin), {})
        done = ended.get(JobState.SUCCEEDED.value, 0)
        hours.append(Hour(begin, done, ended.get(JobState.FAILED.value, 0)))
    return Hours(tuple(hours), tally.complete_at if tally else None)


def disks_now(*, actor: Actor) -> list[Disk]:
    """The disks this process can look at: where uploads wait, and the embedded database's."""
    actor.require(Capability.OPERATE)
    reserve = settings.BCWEB_RESERVE_MB * MIB
    places = [("uploads", Path(settings.FILE_UPLOAD_TEMP_DIR or tempfile.gettempdir()), 0)]
    if settings.POSTGRES_DATA is not None and settings.POSTGRES_DATA.exists():
        places.append(("database", settings.POSTGRES_DATA, reserve))
    found: dict[int, Disk] = {}
    for holds, place, needed in places:
        usage, known = shutil.disk_usage(place), found.get(place.stat().st_dev)
        found[place.stat().st_dev] = Disk(
            holds=(*(known.holds if known else ()), holds),
            free=usage.free,
            total=usage.total,
            reserve=max(needed, known.reserve if known else 0),
        )
    return list(found.values())


def live_model(*, actor: Actor) -> LiveModel | None:
    """The ACTIVE model and when it went live; None where no model answers."""
    actor.require(Capability.VIEW_MODELS)
    entered = (
        ModelEvent.objects.filter(
            to_state=ModelState.ACTIVE, model_version__state=ModelState.ACTIVE.value
        )
        .order_by("-id")
        .values_list("model_version_id", "model_version__version", "at")
        .first()
    )
    return LiveModel(str(entered[0]), entered[1], entered[2]) if entered else None


def next_firing(*, actor: Actor) -> NextFiring | None:
    """The training schedule of the site that fires next; None where none is switched on."""
    now = timezone.now()
    found = []
    for schedule in schedule_list(actor=actor).filter(task__enabled=True):
        task = schedule.task
        timing = task.schedule
        # A crontab knows its times by itself; an interval counts from its last run.
        since = (task.last_run_at or now) if task.interval_id else now
        at = max(now, now + timing.remaining_estimate(since)) + timedelta(seconds=30)
        # To the minute: the estimate is made a moment later than our look at the clock.
        found.append(NextFiring(schedule, at.replace(second=0, microsecond=0)))
    return min(found, key=lambda firing: firing.at, default=None)
