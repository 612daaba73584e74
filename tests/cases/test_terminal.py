"""`manage.py submit` and `manage.py status`: what people see, and exit codes for scripts."""

from __future__ import annotations

import io
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from cases.access import SYSTEM
from cases.models import AuditEvent, Image, Job, Site, Submission
from cases.services.jobs import job_cancel
from cases.services.pulse import pulse_beat
from cases.states import JobState
from tests.api.conftest import answer_waiting
from tests.factories import live_model, make_site, phantom_jpeg

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and standard output of a command."""
    out = io.StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=io.StringIO())
    except CommandError as error:
        return error.returncode, out.getvalue() + str(error)
    return 0, out.getvalue()


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "left [old].jpg", tmp_path / "right.jpg"]
    for path in paths:
        path.write_bytes(phantom_jpeg())
    return [str(path) for path in paths]


@pytest.fixture
def site(db: None) -> Site:
    live_model()
    return make_site("main")


def test_files_are_handed_in_as_one_case(site: Site, pictures: list[str]) -> None:
    code, out = run("submit", *pictures, "--patient-id", "P1", "--laterality", "L")
    assert code == 0
    submission = Submission.objects.get()
    assert (submission.site, submission.case.patient.patient_id) == (site, "P1")
    assert str(submission.pk) in out
    # What stands in a file's name is shown as it is.
    assert "left [old].jpg" in out
    assert Image.objects.count() == 2
    event = AuditEvent.objects.filter(action="case.created").get()
    assert (event.actor_kind, event.actor_label) == ("command", "manage.py submit")


def test_what_is_refused_says_why_and_leaves_nothing(
    site: Site, pictures: list[str], tmp_path: Path
) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear colleague,")
    code, out = run("submit", pictures[0], str(letter), "--patient-id", "P1")
    assert code == 2
    assert "letter.txt: " in out
    # Called as it is typed.
    assert "--patient-id: " in run("submit", pictures[0])[1]
    for arguments in (
        (pictures[0],),
        (str(tmp_path / "none.jpg"), "--patient-id", "P1"),
        (pictures[0], "--patient-id", "P1", "--laterality", "up"),
        (pictures[0], "--patient-id", "P1", "--site", "nowhere"),
    ):
        assert run("submit", *arguments)[0] == 2, arguments
    assert not Submission.objects.exists()
    code, out = run(
        "submit", pictures[0], str(letter), "--patient-id", "P1", "--on-bad-file", "skip"
    )
    assert code == 0
    assert "left out   letter.txt" in out


def test_a_service_that_is_full_is_no_refusal(
    site: Site, pictures: list[str], settings: Any
) -> None:
    settings.BCWEB_MAX_QUEUE = 1
    assert run("submit", *pictures, "--patient-id", "P1")[0] == 0
    assert run("submit", *pictures, "--patient-id", "P2", "--priority", "routine")[0] == 1


def in_time(work: Any) -> threading.Thread:
    """Do ``work`` in a thread once a job waits."""

    def until() -> None:
        try:
            while not Job.objects.filter(state=JobState.PENDING).exists():
                threading.Event().wait(0.02)
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=until)
    thread.start()
    return thread


@pytest.mark.django_db(transaction=True)
def test_answers_are_awaited_and_shown_with_their_scores(pictures: list[str]) -> None:
    live_model()
    make_site("main")
    worker = in_time(answer_waiting)
    code, out = run("submit", *pictures, "--patient-id", "P1", "--wait", "--seconds", "60")
    worker.join()
    assert code == 0
    assert out.count("malignant") >= 3
    assert "0.800" in out
    assert AuditEvent.objects.filter(action="case.viewed", actor_kind="command").count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_image_that_is_not_read_is_told_by_the_exit_code(pictures: list[str]) -> None:
    live_model()
    make_site("main")

    def call_off() -> None:
        job_cancel(actor=SYSTEM, job_id=Job.objects.get().pk)

    worker = in_time(call_off)
    arguments = ("submit", pictures[0], "--patient-id", "P1", "--wait", "--json")
    code, out = run(*arguments, "--seconds", "60")
    worker.join()
    assert code == 1
    told = json.loads(out.splitlines()[0])
    assert told["images"][0]["state"] == "CANCELLED"
    assert told["images"][0]["probabilities"] is None
    code, out = run(*arguments, "--seconds", "0")
    assert code == 1
    assert "1 still waiting" in out


def everybody_alive() -> None:
    """A fresh pulse of each: it is good for some seconds."""
    for kind in ("inference", "training", "beat", "webhooks"):
        pulse_beat(name=f"{kind}@test", kind=kind, ready=True, details={})


def test_status_says_that_all_is_well(site: Site, pictures: list[str]) -> None:
    run("submit", *pictures, "--patient-id", "P1", "--priority", "stat")
    everybody_alive()
    code, out = run("status")
    assert code == 0, out
    assert out.rstrip().endswith("all is well")
    assert "test-model" in out
    assert "inference 1" in out
    everybody_alive()
    code, out = run("status", "--json")
    told = json.loads(out)
    assert code == 0
    assert (told["well"], told["faults"]) == (True, [])
    (waiting,) = told["waiting"]
    assert (waiting["kind"], waiting["priority"], waiting["jobs"]) == ("inference", "stat", 2)
    assert told["disks"][0]["free_bytes"] > 0


def test_status_names_what_is_not_well_and_says_so_to_scripts(site: Site, settings: Any) -> None:
    settings.BCWEB_RESERVE_MB = 2**40
    # Kept free on the database's disk, where that is one of this machine; on no other one.
    settings.POSTGRES_DATA = None
    faults = json.loads(run("status", "--json")[1].splitlines()[0])["faults"]
    assert not any(fault.endswith("is full") for fault in faults)
    settings.POSTGRES_DATA = settings.STATE_DIR
    code, out = run("status", "--json")
    assert code == 1
    faults = json.loads(out.splitlines()[0])["faults"]
    assert "no inference worker is ready" in faults
    assert "no beat process is alive" in faults
    assert any(fault.endswith("is full") for fault in faults)


def test_status_without_a_database_is_another_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.db import OperationalError

    from cases.management.commands import status

    def gone() -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(status, "service_status", gone)
    code, out = run("status")
    assert (code, out) == (2, "the database cannot be asked (OperationalError)")
