"""Images on their way into training data: what was decided of each, what was frozen, and on which
side of the test each patient is."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from cases.models.checks import choice_check
from cases.models.imaging import Case, Image
from cases.models.jobs import Job
from cases.models.people import User
from cases.models.review import FindingOutcome
from cases.models.training import TrainingSnapshot
from cases.states import CandidateState
from cases.vocabulary import (
    OUTCOME_LABELS,
    CandidateConflict,
    Label,
    OutcomeBasis,
    SnapshotRole,
)

_UNDECIDED = Q(
    decided_by__isnull=True, decided_at__isnull=True, reason="", identity_checked=False
) & Q(box__isnull=True)
_DECIDED = Q(decided_by__isnull=False, decided_at__isnull=False) & ~Q(reason="")
_LABELLED = Q(label__in=[label.value for label in OUTCOME_LABELS]) & Q(
    outcome__isnull=False, basis__in=[basis.value for basis in OutcomeBasis]
)
_UNLABELLED = Q(label="", basis="", outcome__isnull=True)


class TrainingCandidate(models.Model):
    """An image of a finding whose outcome is known: may it be trained on or tested with?

    ``label``, ``basis`` and ``outcome`` are empty while findings conflict and nobody has decided.
    ``version`` counts every change, so that a decision is about what its maker saw.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    image = models.OneToOneField(Image, on_delete=models.PROTECT, related_name="candidate")
    state = models.CharField(
        max_length=16,
        choices=[(s.value, s.value) for s in CandidateState],
        default=CandidateState.PENDING.value,
    )
    conflict = models.CharField(
        max_length=12, blank=True, choices=[(c.value, c.value) for c in CandidateConflict]
    )
    label = models.CharField(
        max_length=12, blank=True, choices=[(v.value, v.value) for v in OUTCOME_LABELS]
    )
    basis = models.CharField(
        max_length=12, blank=True, choices=[(b.value, b.value) for b in OutcomeBasis]
    )
    outcome = models.ForeignKey(
        FindingOutcome, on_delete=models.PROTECT, related_name="candidates", null=True
    )
    # The outcomes it follows from, by id: its finding's, and those that conflict with it.
    rests_on = models.JSONField(default=list)
    # The part of the frame that was looked at and is frozen, [x0, y0, x1, y1] in pixels.
    box = models.JSONField(null=True)
    identity_checked = models.BooleanField(default=False)
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True)
    decided_at = models.DateTimeField(null=True)
    # Of the decision. Free text about a picture: an erasure empties it.
    reason = models.CharField(max_length=500, blank=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            choice_check("state", CandidateState, name="candidate_state_known"),
            models.CheckConstraint(
                condition=Q(conflict="") | Q(conflict__in=[c.value for c in CandidateConflict]),
                name="candidate_conflict_known",
            ),
            models.CheckConstraint(
                condition=_LABELLED | _UNLABELLED, name="candidate_label_has_its_outcome"
            ),
            models.CheckConstraint(
                condition=Q(state=CandidateState.LAPSED.value) & _UNDECIDED & _UNLABELLED
                | Q(state=CandidateState.PENDING.value) & _UNDECIDED
                | Q(state=CandidateState.REJECTED.value, identity_checked=False, box__isnull=True)
                & _DECIDED
                | Q(state=CandidateState.ACCEPTED.value, identity_checked=True, box__isnull=False)
                & _DECIDED
                & _LABELLED,
                name="candidate_accepted_by_somebody_who_looked",
            ),
            # A conflict is a person's to decide: no label before that.
            models.CheckConstraint(
                condition=~Q(state=CandidateState.PENDING.value)
                | Q(conflict="") & _LABELLED
                | ~Q(conflict="") & _UNLABELLED,
                name="candidate_conflict_has_no_label",
            ),
        ]
        indexes = [models.Index(fields=["state", "-created_at", "-id"], name="candidate_list")]


class CandidateEvent(models.Model):
    """One move of a candidate, with who and why. Only its reason may be emptied, by an erasure."""

    candidate = models.ForeignKey(
        TrainingCandidate, on_delete=models.PROTECT, related_name="events"
    )
    # Whose erasure may empty the reason.
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="+")
    from_state = models.CharField(max_length=16, blank=True)
    to_state = models.CharField(max_length=16)
    label = models.CharField(max_length=12, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    actor = models.CharField(max_length=160)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]


class SnapshotFreeze(models.Model):
    """A snapshot of accepted images, asked for; its states are those of its job."""

    job = models.OneToOneField(
        Job, on_delete=models.PROTECT, primary_key=True, related_name="freeze"
    )
    role = models.CharField(max_length=12, choices=[(r.value, r.value) for r in SnapshotRole])
    name = models.CharField(max_length=80)
    # Of a locked set: how many of 100 patients that are on neither side yet go into it.
    share = models.PositiveSmallIntegerField(default=0)
    reason = models.CharField(max_length=500)
    requested_by = models.CharField(max_length=160)
    requested_by_user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    snapshot = models.ForeignKey(
        TrainingSnapshot, on_delete=models.PROTECT, related_name="freezes", null=True
    )
    # How many accepted images were left out, by why; filled when it is done.
    left_out = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            choice_check("role", SnapshotRole, name="freeze_role_known"),
            models.CheckConstraint(condition=~Q(name=""), name="freeze_has_a_name"),
            models.CheckConstraint(
                condition=Q(role=SnapshotRole.LOCKED.value, share__range=(0, 100))
                | Q(role=SnapshotRole.TRAINING.value, share=0),
                name="freeze_share_of_a_locked_set",
            ),
        ]


class PatientPartition(models.Model):
    """On which side of the test a patient is, for ever. Append-only.

    Named by the key that stands in snapshots, not by the patient's row: the same patient at another
    site, or after an erasure, stays on the same side.
    """

    patient_key = models.CharField(max_length=80, primary_key=True)
    role = models.CharField(max_length=12, choices=[(r.value, r.value) for r in SnapshotRole])
    # Which secret made the key: keys of another one could not be compared.
    key_id = models.CharField(max_length=16)
    freeze = models.ForeignKey(SnapshotFreeze, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            choice_check("role", SnapshotRole, name="partition_role_known"),
            models.CheckConstraint(
                condition=Q(patient_key__regex="^hmac-sha256:[0-9a-f]{64}$"),
                name="partition_names_no_patient",
            ),
        ]


class FrozenPicture(models.Model):
    """An accepted image as it stands in a snapshot. Append-only.

    The database also holds that its role is its patient's (a foreign key over both, in the
    migration).
    """

    freeze = models.ForeignKey(SnapshotFreeze, on_delete=models.PROTECT, related_name="pictures")
    candidate = models.ForeignKey(
        TrainingCandidate, on_delete=models.PROTECT, related_name="frozen"
    )
    outcome = models.ForeignKey(FindingOutcome, on_delete=models.PROTECT, related_name="+")
    patient_key = models.CharField(max_length=80)
    role = models.CharField(max_length=12, choices=[(r.value, r.value) for r in SnapshotRole])
    label = models.CharField(max_length=12, choices=[(v.value, v.value) for v in Label])
    basis = models.CharField(max_length=12, choices=[(b.value, b.value) for b in OutcomeBasis])
    # Of the cropped picture's file, as the snapshot's document has it.
    sha256 = models.CharField(max_length=64)
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            choice_check("role", SnapshotRole, name="frozen_role_known"),
            models.UniqueConstraint(fields=["freeze", "candidate"], name="frozen_once"),
            models.CheckConstraint(
                condition=~Q(role=SnapshotRole.LOCKED.value, basis=OutcomeBasis.READER_ONLY.value),
                name="frozen_locked_not_by_a_reader_alone",
            ),
        ]
