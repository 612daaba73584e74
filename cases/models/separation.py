"""What keeps people and patients apart: who stands behind a schedule's runs, and which patients a
snapshot holds. All append-only."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from cases.models.people import User
from cases.models.training import TrainingRun, TrainingSchedule, TrainingSnapshot


class ScheduleEdit(models.Model):
    """A person added, changed or switched on a schedule: what it starts from then on is theirs
    too."""

    schedule = models.ForeignKey(TrainingSchedule, on_delete=models.PROTECT, related_name="edits")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]


class TrainingOrderer(models.Model):
    """Who stood behind the schedule when it started this run, and may not approve what comes of
    it, beside who asked for the run."""

    run = models.ForeignKey(TrainingRun, on_delete=models.PROTECT, related_name="orderers")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["run", "user"], name="trainingorderer_once")]


class SnapshotPatient(models.Model):
    """A patient of an imported snapshot by a keyed hash of source and id, the same in every
    snapshot. The document itself only numbers them.

    ``by_issuer``: the key that a patient of this service with that id would have in a frozen
    snapshot, under one issuer; compared with those only. ``key_id``: which secret made the key;
    "" for rows of earlier versions, of which nobody knows.
    """

    snapshot = models.ForeignKey(
        TrainingSnapshot, on_delete=models.PROTECT, related_name="patient_keys"
    )
    key = models.CharField(max_length=76)
    key_id = models.CharField(max_length=16, default="", db_default="", blank=True)
    by_issuer = models.BooleanField(default=False, db_default=False)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["snapshot", "key", "key_id"], name="snapshotpatient_once"
            ),
            models.CheckConstraint(
                condition=Q(key__regex="^hmac-sha256:[0-9a-f]{64}$"),
                name="snapshotpatient_names_no_patient",
            ),
        ]
