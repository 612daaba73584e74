"""`manage.py status`: queue, workers, the live model, disks; is anything not well?"""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from cases.management.terminal import console, row, size, table
from cases.selectors.status import Status, service_status
from cases.vocabulary import PriorityRank


class Command(BaseCommand):
    help = (
        "Show queue, workers, the live model and disks. "
        "Exit code: 0 all is well, 1 something is not, 2 the database cannot be asked."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object, for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            status = service_status()
        except DatabaseError as error:
            kind = type(error.__cause__ or error).__name__
            raise CommandError(f"the database cannot be asked ({kind})", returncode=2) from error
        if options["json"]:
            self.stdout.write(json.dumps(as_json(status)))
        else:
            self._show(status)
        if status.faults:
            raise CommandError("; ".join(status.faults), returncode=1)

    def _show(self, status: Status) -> None:
        out = console(self.stdout)
        model = status.model
        since = f", live since {model.since:%Y-%m-%d %H:%M} UTC" if model and model.since else ""
        out.print(f"model    {model.version if model else 'none'}{since}")
        if status.suspended:
            since_told = f"{status.suspended.since:%Y-%m-%d %H:%M} UTC"
            out.print(f"         suspended since {since_told}: {status.suspended.reason}")
        alive = ", ".join(f"{kind} {number}" for kind, number in status.workers.items())
        out.print(f"workers  {alive or 'unknown'}")
        running = ", ".join(f"{kind} {number}" for kind, number in status.running.items())
        out.print(f"running  {running or 'nothing'}")
        if status.waiting:
            waiting = table("waiting", "priority", ">jobs", ">oldest")
            for found in status.waiting:
                rank = PriorityRank(found.priority).name.lower()
                row(waiting, found.kind, rank, found.jobs, f"{found.oldest_s:.0f} s")
            out.print(waiting)
        else:
            out.print("waiting  nothing")
        disks = table("disk of", ">free", ">of")
        for disk in status.disks:
            row(disks, disk.holds, size(disk.free_bytes), size(disk.total_bytes))
        out.print(disks)
        sizes = f"{size(status.database_bytes)}, of it uploads {size(status.upload_bytes)}"
        out.print(f"database {sizes}")
        if not status.faults:
            out.print("all is well")


def as_json(status: Status) -> dict[str, Any]:
    """The same for programs; moments in UTC."""
    model, suspended = status.model, status.suspended
    return {
        "well": not status.faults,
        "faults": status.faults,
        "model": model
        and {
            "version": model.version,
            "sha256": model.sha256,
            "live_since": model.since.isoformat() if model.since else None,
        },
        "suspended": suspended
        and {"since": suspended.since.isoformat(), "reason": suspended.reason},
        "workers": status.workers,
        "running": status.running,
        "waiting": [
            {
                "kind": found.kind,
                "priority": PriorityRank(found.priority).name.lower(),
                "jobs": found.jobs,
                "oldest_s": round(found.oldest_s, 1),
            }
            for found in status.waiting
        ],
        "disks": [
            {"holds": d.holds, "free_bytes": d.free_bytes, "total_bytes": d.total_bytes}
            for d in status.disks
        ],
        "database_bytes": status.database_bytes,
        "upload_bytes": status.upload_bytes,
    }
