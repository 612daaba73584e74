"""`manage.py submit FILE…`: hand in the images of one case from the terminal."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from cases import intake
from cases.access import Actor, ActorKind
from cases.errors import Overloaded, UserFacingError
from cases.management.sentences import sentence
from cases.management.terminal import console, row, table
from cases.models import Image, Submission
from cases.reports.answers import RESEARCH_NOTE, image_answer
from cases.selectors.cases import case_get
from cases.selectors.health import services_alive
from cases.selectors.live import submission_now
from cases.selectors.people import site_by_code, site_first
from cases.services.audit import audit_record
from cases.services.fields import FIELD_NAMES, submission_fields_parse
from cases.services.limits import limits
from cases.services.submission import Upload, submission_create
from cases.states import JobState
from cases.vocabulary import Label, Outcome

LOOK_S = 0.3
# What is told of one image.
Line = dict[str, Any]


class Command(BaseCommand):
    help = (
        "Hand in the images of one case. With --wait: a progress bar, then a table of the answers. "
        "Exit code: 0 done (with --wait: every image was read), 1 an image failed, was cancelled "
        "or is still waiting, or the service is busy, 2 refused."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE", help="an image or DICOM file")
        parser.add_argument("--site", default="", help="code of the site (default: the first one)")
        for name in FIELD_NAMES:
            option = "--" + name.replace("_", "-")
            parser.add_argument(option, default="", metavar="TEXT", help="as in docs/api.md")
        parser.add_argument("--wait", action="store_true", help="until all images are read")
        parser.add_argument(
            "--seconds", type=float, default=600, help="how long to wait (default 600)"
        )
        parser.add_argument("--json", action="store_true", help="one JSON object, for programs")

    def handle(self, *args: Any, **options: Any) -> None:
        if console(sys.stderr).is_terminal:
            # What is refused is said below; lines for programs would tear the progress bar.
            logging.getLogger("cases").setLevel(logging.WARNING)
        actor, submission = self._submitted(options)
        unfinished = self._await(submission, options["seconds"]) if options["wait"] else 0
        case = case_get(actor=actor, case_id=submission.case_id)
        mine = [image for image in case.images.all() if image.submission_id == submission.pk]
        if options["wait"]:
            # Answers on the terminal have been seen, as on the page of the case.
            audit_record(
                actor=actor,
                action="case.viewed",
                object_type="case",
                object_id=case.pk,
                site_id=case.site_id,
                case_id=case.pk,
            )
        lines = [line_of(image) for image in mine]
        told = {
            "submission": str(submission.pk),
            "case": str(case.pk),
            "images": lines,
            "skipped": submission.skipped,
        }
        if options["json"]:
            self.stdout.write(json.dumps(told))
        else:
            self._show(submission, lines, answers=options["wait"])
        unread = sum(line["state"] != JobState.SUCCEEDED for line in lines)
        if unfinished:
            raise CommandError(f"{unfinished} still waiting after {options['seconds']:g} s")
        if options["wait"] and unread:
            raise CommandError(f"{unread} of {len(lines)} not read")

    def _submitted(self, options: dict[str, Any]) -> tuple[Actor, Submission]:
        label = "manage.py submit"
        try:
            site = site_by_code(code=options["site"]) if options["site"] else site_first()
            actor = Actor(kind=ActorKind.COMMAND, label=label, site_id=site.pk)
            raw = {name: options[name] for name in FIELD_NAMES}
            with ExitStack() as stack:
                uploads = [self._upload(Path(name), stack) for name in options["files"]]
                submission = submission_create(
                    actor=actor, fields=submission_fields_parse(raw), uploads=uploads
                )
        except Overloaded as error:
            raise CommandError(sentence(error), returncode=1) from error
        except UserFacingError as error:
            named = f"{error.file}: " if error.file else ""
            raise CommandError(f"{named}{by_option(error)}", returncode=2) from error
        return actor, submission

    def _upload(self, path: Path, stack: ExitStack) -> Upload:
        try:
            with path.open("rb") as file:
                received = intake.receive(file, path.name, limits())
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}", returncode=2) from error
        return Upload(stack.enter_context(received))

    def _await(self, submission: Submission, seconds: float) -> int:
        """How many of its jobs have not ended within ``seconds``."""
        if not services_alive().get("inference"):
            self.stderr.write("No inference worker is alive: the images wait until one is.")
        errors = console(sys.stderr)
        deadline = time.monotonic() + seconds
        columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=errors, disable=not errors.is_terminal) as progress:
            task = progress.add_task("reading", total=None)
            while True:
                jobs = submission_now(submission_id=submission.pk)
                left = sum(not job.is_final for job in jobs)
                progress.update(task, total=len(jobs), completed=len(jobs) - left)
                if not left or time.monotonic() > deadline:
                    return left
                time.sleep(LOOK_S)

    def _show(self, submission: Submission, lines: Sequence[Line], *, answers: bool) -> None:
        out = console(self.stdout)
        out.print(f"submission {submission.pk}")
        out.print(f"case       {submission.case_id}")
        out.print(answered_table(lines) if answers else received_table(lines))
        if answers:
            out.print(RESEARCH_NOTE)
        for skipped in submission.skipped:
            out.print(f"left out   {skipped['file']}: {skipped['detail']}")


def by_option(error: UserFacingError) -> str:
    """The error's sentence; a field is called as it is typed here."""
    named = {
        f"--{name.replace('_', '-')}" if name in FIELD_NAMES else name: texts
        for name, texts in (error.errors or {}).items()
    }
    return "; ".join(f"{name}: {' '.join(texts)}" for name, texts in named.items()) or error.detail


def answered_table(lines: Sequence[Line]) -> Table:
    told = table("file", "answer", *(f">{label.value}" for label in Label), ">threshold", "why")
    for line in lines:
        scores = line["probabilities"] or {}
        numbers = [f"{scores[label.value]:.3f}" if scores else "" for label in Label]
        limit = "" if line["threshold"] is None else f"{line['threshold']:.3f}"
        # No label is no negative answer: the outcome or the state stands there instead.
        answer = line["outcome"] if line["outcome"] != Outcome.ANSWERED else line["label"]
        row(told, line["file"], answer or line["state"], *numbers, limit, line["reason"] or "")
    return told


def received_table(lines: Sequence[Line]) -> Table:
    told = table("file", "image", "job")
    for line in lines:
        row(told, line["file"], line["image"], line["job"])
    return told


def line_of(image: Image) -> Line:
    """What is told of one image: its answer where it has one, else how far it is."""
    job = image_answer(image).job
    assert job is not None, "every image that is taken in has a job"
    result = getattr(job, "result", None)
    return {
        "file": image.file_name,
        "image": str(image.pk),
        "job": str(job.pk),
        "state": job.state,
        "outcome": result.outcome if result else None,
        "label": (result.label or None) if result else None,
        "probabilities": result.probabilities if result else None,
        "threshold": result.threshold if result else None,
        "reason": (result.reason if result else job.error_detail) or None,
    }
