"""How the service is, for whoever stands at the terminal: all sites together, and no patient."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from django.conf import settings

from cases.models import ModelEvent, ModelVersion
from cases.selectors.figures import Waiting, jobs_running, jobs_waiting, stored_sizes
from cases.selectors.health import readiness
from cases.selectors.serving import Suspension, suspension_now
from cases.states import ModelState

# Of each kind at least so many are wanted (`bcweb.embedded.roster`).
EXPECTED = ("inference", "training", "beat", "webhooks")
_DATABASE = "the database"


@dataclass(frozen=True)
class ModelLive:
    version: str
    sha256: str
    since: datetime | None


@dataclass(frozen=True)
class Disk:
    """A disk that something of the service lies on."""

    holds: str
    free_bytes: int
    total_bytes: int
    # With less it is full: the reserve of the database's disk; of another one, nothing at all.
    least: int = 1


@dataclass(frozen=True)
class Status:
    """``faults``: what is not well, in words; none: all is."""

    faults: list[str]
    workers: dict[str, int] = field(default_factory=dict)
    waiting: list[Waiting] = field(default_factory=list)
    running: dict[str, int] = field(default_factory=dict)
    model: ModelLive | None = None
    suspended: Suspension | None = None
    disks: list[Disk] = field(default_factory=list)
    database_bytes: int = 0
    upload_bytes: int = 0


def service_status() -> Status:
    """Everything at once. Raises ``DatabaseError`` where the database cannot be asked for it."""
    faults, alive = readiness()
    told = [fault["detail"] for fault in faults]
    told += [f"no {kind} process is alive" for kind in EXPECTED[1:] if not alive.get(kind)]
    model = _model_live()
    if model is None:
        told.append("no model is live: nothing is taken in")
    suspended = suspension_now()
    if suspended is not None:
        told.append(f"answers are suspended: {suspended.reason}")
    disks = _disks()
    told += [f"the disk of {disk.holds} is full" for disk in disks if disk.free_bytes < disk.least]
    sizes = stored_sizes()
    return Status(
        faults=told,
        workers=dict.fromkeys(EXPECTED, 0) | alive,
        waiting=jobs_waiting(),
        running=jobs_running(),
        model=model,
        suspended=suspended,
        disks=disks,
        database_bytes=sizes.database_bytes,
        upload_bytes=sizes.upload_bytes,
    )


def _model_live() -> ModelLive | None:
    model = ModelVersion.objects.defer("card").filter(state=ModelState.ACTIVE).first()
    if model is None:
        return None
    entered = ModelEvent.objects.filter(model_version=model, to_state=ModelState.ACTIVE)
    last = entered.order_by("-id").first()
    return ModelLive(model.version, model.sha256, last.at if last else None)


def _disks() -> list[Disk]:
    places = {"uploads on their way": Path(settings.FILE_UPLOAD_TEMP_DIR or tempfile.gettempdir())}
    if settings.POSTGRES_DATA is not None:
        places[_DATABASE] = settings.POSTGRES_DATA
    places["the state folder"] = settings.STATE_DIR
    # What lies on one disk is one line.
    names: dict[int, list[str]] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for name, place in places.items():
        if place.exists():
            device = place.stat().st_dev
            usage = shutil.disk_usage(place)
            names.setdefault(device, []).append(name)
            sizes[device] = (usage.free, usage.total)
    reserve = settings.BCWEB_RESERVE_MB * 1024 * 1024
    return [
        Disk(", ".join(found), *sizes[device], least=reserve if _DATABASE in found else 1)
        for device, found in names.items()
    ]
