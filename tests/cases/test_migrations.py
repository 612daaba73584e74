"""Migrations that are taken back while there are rows of what they brought."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.migrations.loader import MigrationLoader

from cases.models import AuditEvent, Job, JobEvent, TrainingSnapshot
from cases.states import JobState
from cases.vocabulary import JobKind
from tests.curation import accepted, actors, frozen_into
from tests.factories import make_site
from tests.training import make_run, make_snapshot

pytestmark = pytest.mark.django_db


def take_back(name: str) -> None:
    """Undo one migration of `cases` within the test's transaction."""
    # The squashed one, which stands for it here, can only be undone as a whole.
    loader = MigrationLoader(connection, replace_migrations=False)
    before = loader.project_state(("cases", name), at_end=False)
    migration = loader.get_migration("cases", name)
    # What the test has made is checked now: no table changes while checks of its rows are due.
    connection.check_constraints()
    with connection.schema_editor(atomic=False) as editor:
        migration.unapply(before, editor)


def test_curation_is_taken_back_with_its_freezes_and_everything_else_stays() -> None:
    reader, admin = actors(make_site())
    candidate = accepted(reader=reader, admin=admin)
    run, own = make_run(), make_snapshot(first=50)
    TrainingSnapshot.objects.filter(pk=own.pk).update(role="training", site=admin.own_site)
    frozen_into(own, candidate, admin=admin, role="training")
    freeze = Job.objects.get(kind=JobKind.FREEZE)
    assert JobEvent.objects.filter(job=freeze).exists()
    others = Job.objects.exclude(pk=freeze.pk).count()
    take_back("0010_curation")
    assert Job.objects.count() == others
    assert not JobEvent.objects.filter(job_id=freeze.pk).exists()
    # Of the other jobs nothing is gone, and their trail is closed again.
    assert Job.objects.get(pk=run.pk).state == JobState.PENDING
    assert AuditEvent.objects.filter(action="freeze.created", object_id=str(freeze.pk)).exists()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        JobEvent.objects.filter(job=run.job).delete()
    # Patients' images are not for everybody now.
    roots = TrainingSnapshot.objects.values_list("pk", "data_root")
    assert dict(roots) == {own.pk: "", run.snapshot_id: "/data/made"}
    with pytest.raises(DatabaseError, match="job_kind_known"), transaction.atomic():
        Job.objects.filter(pk=run.pk).update(kind=JobKind.FREEZE)
