"""`manage.py replay RESULT_ID`: compute a stored result again and say whether it is equal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases.access import Actor, ActorKind
from cases.errors import NotFound
from cases.selectors.replays import replay_job
from cases.services.leases import replay_job_claim
from cases.services.replays import replay_request
from cases.states import JOB, JobState
from worker.runner import Runner

if TYPE_CHECKING:
    from cases.models import Job

# How often to look while a worker does it, or while a failed attempt pauses.
LOOK_S = 0.5


class Command(BaseCommand):
    help = (
        "Compute a stored result again, with its own model, image and frame. "
        "Exit code: 0 equal, 1 differs or not possible now, 2 no such result."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("result_id", metavar="RESULT_ID")
        parser.add_argument(
            "--seconds", type=float, default=300, help="how long to wait for it (default 300)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        actor = Actor(kind=ActorKind.COMMAND, label="manage.py replay")
        try:
            result_id = UUID(options["result_id"])
            job = replay_request(actor=actor, result_id=result_id, ring=False)
        except ValueError as error:
            raise CommandError("a result's id is a UUID", returncode=2) from error
        except NotFound as error:
            raise CommandError(f"there is no result {result_id}", returncode=2) from error
        self._tell(self._ended(job, options["seconds"]))

    def _ended(self, job: Job, seconds: float) -> Job:
        """The job at its end: done here, unless a worker is faster."""
        deadline = time.monotonic() + seconds
        runner = Runner(name="manage.py replay")
        try:
            while JobState((now := replay_job(job_id=job.pk)).state) not in JOB.final:
                if time.monotonic() > deadline:
                    raise CommandError(
                        f"the replay is still {now.state} after {seconds:g} s (job {job.pk})"
                    )
                claims = replay_job_claim(actor=runner.actor, job_id=job.pk)
                if claims:
                    runner.process(claims)
                else:
                    time.sleep(LOOK_S)
            return now
        finally:
            runner.engine.close()

    def _tell(self, job: Job) -> None:
        if job.state != JobState.SUCCEEDED:
            raise CommandError(job.error_detail or f"the replay ended as {job.state}")
        replay = job.replay
        if replay.equal:
            self.stdout.write(f"equal: by {replay.engine}, scores within {replay.tolerance:g}")
            return
        for difference in replay.differences:
            within = (
                f" (tolerance {difference['tolerance']:g})" if "tolerance" in difference else ""
            )
            self.stdout.write(
                f"{difference['what']}: stored {difference['stored']}, "
                f"now {difference['now']}{within}"
            )
        raise CommandError(f"different: computed again by {replay.engine}")
