"""What beat sends each minute or so: known to the workers, and done by them."""

from __future__ import annotations

import pytest
from celery import current_app
from django.conf import settings

from cases.access import SYSTEM
from cases.models import AuditSeal, JobTally
from cases.services.audit import audit_record
from tests.factories import submit
from worker import tasks


def test_what_beat_sends_is_known_and_is_not_done_late() -> None:
    for name, entry in settings.CELERY_BEAT_SCHEDULE.items():
        assert entry["task"] in current_app.tasks, name
        # A worker that comes back finds one turn to do, not a night's.
        assert entry["options"]["expire_seconds"] <= 2 * entry["schedule"], name
        # Messages to webhooks have a process of their own.
        own = "webhooks" if "webhooks" in name else "maintenance"
        assert entry["options"]["queue"] == own, name


@pytest.mark.django_db
def test_the_tasks_seal_the_trail_and_add_up_the_moves() -> None:
    submit()
    tasks.seal_audit()
    tasks.tally_jobs()
    assert AuditSeal.objects.count() == 1
    assert JobTally.objects.get().counts["moves"]["inference"] == {">PENDING": 1}
    # Nothing new is no new seal: a quiet night leaves none.
    tasks.seal_audit()
    assert AuditSeal.objects.count() == 1
    audit_record(actor=SYSTEM, action="thing.done", object_type="thing")
    tasks.seal_audit()
    assert AuditSeal.objects.count() == 2
