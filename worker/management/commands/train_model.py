"""`manage.py train_model`: ask for a training from a snapshot; follow it, or do it here."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from cases.access import Actor, ActorKind
from cases.errors import UserFacingError
from cases.management.sentences import sentence
from cases.selectors.gates import gate_plan_find, verdict_of_run
from cases.selectors.people import site_by_code, site_first
from cases.selectors.snapshots import snapshot_find
from cases.selectors.training import training_run_work
from cases.services.training import training_run_request
from cases.services.training_fields import training_plan_parse
from cases.states import JOB, JobState
from cases.vocabulary import IfRunning, TrainingRecipe
from worker.training import TrainingRunner

if TYPE_CHECKING:
    from cases.models import Site, TrainingRun

ACTOR = Actor(kind=ActorKind.COMMAND, label="manage.py train_model")
LOOK_S = 1.0


def _plan(text: str | None, site: Site) -> UUID | None:
    return None if text is None else gate_plan_find(site_id=site.pk, text=text).pk


class Command(BaseCommand):
    help = (
        "Train a model from a snapshot; what comes of it is a candidate. Exit code: 0 asked for "
        "(with --wait or --here: finished), 1 failed or cancelled, 2 refused."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "snapshot", metavar="SNAPSHOT", help="its id, the beginning of it, or newest"
        )
        parser.add_argument("--reason", required=True, help="kept with the run")
        parser.add_argument("--recipe", default="bcweb", choices=[r.value for r in TrainingRecipe])
        parser.add_argument(
            "--init", default="active", help="active (default), imagenet, none or file:NAME"
        )
        for name in ("seed", "epochs", "size", "limit-images"):
            parser.add_argument(f"--{name}", type=int, metavar="N")
        parser.add_argument(
            "--if-running", default="refuse", choices=[choice.value for choice in IfRunning]
        )
        parser.add_argument(
            "--plan", metavar="PLAN", help="the gate plan to judge it by: its id or its name"
        )
        parser.add_argument("--site", metavar="CODE", help="default: the first site")
        parser.add_argument("--wait", action="store_true", help="follow it to its end")
        parser.add_argument(
            "--here", action="store_true", help="train in this process, unless a worker is faster"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            code = options["site"]
            site = site_by_code(code=code) if code else site_first()
            snapshot = snapshot_find(site_id=site.pk, text=options["snapshot"])
            run = training_run_request(
                actor=ACTOR,
                snapshot_id=snapshot.pk,
                plan=training_plan_parse(options),
                reason=options["reason"],
                if_running=IfRunning(options["if_running"]),
                gate_plan_id=_plan(options["plan"], site),
                site_id=site.pk,
            )
        except UserFacingError as error:
            raise CommandError(sentence(error), returncode=2) from error
        self.stdout.write(f"training run {run.pk}")
        if options["wait"] or options["here"]:
            self._tell(self._ended(run, here=options["here"]))

    def _ended(self, run: TrainingRun, *, here: bool) -> TrainingRun:
        """The run at its end."""
        runner = TrainingRunner(name="manage.py train_model")
        told = ""
        while JobState((now := training_run_work(run_id=run.pk)).job.state) not in JOB.final:
            progress = now.job.progress or {}
            words = f"epoch {progress['epoch']}" if "epoch" in progress else now.job.state.lower()
            if words != told:
                told = words
                self.stdout.write(words)
            if not (here and runner.drain()):
                time.sleep(LOOK_S)
        return now

    def _tell(self, run: TrainingRun) -> None:
        if run.job.state != JobState.SUCCEEDED:
            reason = run.job.error_detail or f"the training ended as {run.job.state}"
            raise CommandError(f"{run.job.error_code or 'cancelled'}: {reason}")
        verdict = verdict_of_run(run)
        told = f", gate {verdict.state.replace('_', ' ')}" if verdict else ""
        self.stdout.write(f"finished: model sha256 {run.weights_sha256}, a candidate{told}")
