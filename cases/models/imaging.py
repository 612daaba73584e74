"""Patients, their cases, findings and images; the submission that brought each image."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.db import models
from django.db.models.functions import Now

from cases.models.checks import choice_check
from cases.models.people import ApiToken, Site, User
from cases.vocabulary import Indication, Laterality, Quadrant, Sex

# How long an Idempotency-Key is remembered.
IDEMPOTENCY_LIFE = timedelta(hours=24)


class Patient(models.Model):
    """Identity = Patient ID (0010,0020) + Issuer of Patient ID (0010,0021); never the name.

    Each site keeps its own record of a patient: what one site wrote is not another's to read or
    to complete.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="patients")
    patient_id = models.CharField(max_length=64)
    issuer = models.CharField(max_length=64)
    # PN as sent, components separated by `^` (PS3.5 6.2.1).
    name = models.CharField(max_length=324, blank=True)
    birth_date = models.DateField(null=True, blank=True)
    sex = models.CharField(max_length=1, blank=True, choices=[(s.value, s.name) for s in Sex])
    # The patient wants no part in research: their images are in no new training data.
    research_opt_out = models.BooleanField(db_default=False, default=False)
    # Identity and images are gone from then on; the row stays as a tombstone.
    erased_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["site", "issuer", "patient_id"],
                condition=models.Q(erased_at__isnull=True),
                name="patient_identity",
            ),
            models.CheckConstraint(
                condition=models.Q(erased_at__isnull=True)
                & ~models.Q(patient_id="")
                & ~models.Q(issuer="")
                | models.Q(
                    erased_at__isnull=False,
                    patient_id="",
                    issuer="",
                    name="",
                    birth_date__isnull=True,
                    sex="",
                ),
                name="patient_identity_given_until_erased",
            ),
        ]


class Case(models.Model):
    """One examination of one patient at one site: accession (with issuer) or study UID."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="cases")
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="cases")
    accession_number = models.CharField(max_length=16, blank=True)
    accession_issuer = models.CharField(max_length=64, blank=True)
    study_instance_uid = models.CharField(max_length=64, blank=True)
    indication = models.CharField(
        max_length=20, blank=True, choices=[(i.value, i.name) for i in Indication]
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["site", "accession_issuer", "accession_number"],
                condition=~models.Q(accession_number=""),
                name="case_accession",
            ),
            models.UniqueConstraint(
                fields=["site", "study_instance_uid"],
                condition=~models.Q(study_instance_uid=""),
                name="case_study",
            ),
        ]
        indexes = [models.Index(fields=["site", "-created_at", "-id"], name="case_worklist")]


class Finding(models.Model):
    """A place in the breast that images, readings and outcomes may be about."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="findings")
    number = models.PositiveSmallIntegerField()
    laterality = models.CharField(
        max_length=7,
        choices=[(v.value, v.name) for v in Laterality],
        default=Laterality.UNKNOWN.value,
    )
    clock_position = models.PositiveSmallIntegerField(null=True, blank=True)
    quadrant = models.CharField(
        max_length=20, blank=True, choices=[(q.value, q.name) for q in Quadrant]
    )
    nipple_distance_mm = models.DecimalField(max_digits=5, decimal_places=1, null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["number"]
        constraints = [
            models.UniqueConstraint(fields=["case", "number"], name="finding_number"),
            choice_check("laterality", Laterality, name="finding_laterality_known"),
            models.CheckConstraint(
                condition=models.Q(clock_position__isnull=True)
                | models.Q(clock_position__range=(1, 12)),
                name="finding_clock_1_to_12",
            ),
        ]


class Submission(models.Model):
    """One accepted delivery of files. A refused one leaves no row."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="submissions")
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="submissions")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True)
    token = models.ForeignKey(ApiToken, on_delete=models.SET_NULL, related_name="+", null=True)
    # Who the key belongs to: the token, or the user at the portal.
    idempotency_owner = models.UUIDField(null=True)
    idempotency_key = models.CharField(max_length=200, blank=True)
    # SHA-256 over the parsed fields and the file hashes.
    fingerprint = models.CharField(max_length=64)
    # [{"file": …, "code": …, "detail": …}] of on_bad_file=skip.
    skipped = models.JSONField(default=list)
    # Why the form was kept although a DICOM header disagreed (portal only).
    override_reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        indexes = [
            models.Index(
                fields=["idempotency_owner", "idempotency_key", "-created_at"],
                condition=~models.Q(idempotency_key=""),
                name="submission_idempotency",
            )
        ]


class Image(models.Model):
    """One uploaded file as sent, with what intake found in it. Bytes may be shared."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="images")
    submission = models.ForeignKey(Submission, on_delete=models.PROTECT, related_name="images")
    finding = models.ForeignKey(
        Finding, on_delete=models.PROTECT, related_name="images", null=True, blank=True
    )
    # Position within the submission, so that lists keep the sender's order.
    position = models.PositiveSmallIntegerField(default=0)
    file_name = models.CharField(max_length=255)
    sha256 = models.CharField(max_length=64)
    size = models.PositiveBigIntegerField()
    storage_name = models.CharField(max_length=128)
    format = models.CharField(max_length=16)
    media_type = models.CharField(max_length=64)
    # As displayed: after EXIF orientation; of one frame. Pixels.
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    frames = models.PositiveIntegerField(default=1)
    # The representative frame, 0-based.
    frame = models.PositiveIntegerField(default=0)
    laterality = models.CharField(
        max_length=7,
        choices=[(v.value, v.name) for v in Laterality],
        default=Laterality.UNKNOWN.value,
    )
    study_instance_uid = models.CharField(max_length=64, blank=True)
    series_instance_uid = models.CharField(max_length=64, blank=True)
    sop_instance_uid = models.CharField(max_length=64, blank=True)
    manufacturer = models.CharField(max_length=64, blank=True)
    manufacturer_model = models.CharField(max_length=64, blank=True)
    # Calibrated spacing between pixel centres, row then column, in mm; null where not calibrated.
    spacing_row_mm = models.FloatField(null=True)
    spacing_col_mm = models.FloatField(null=True)
    # A person kept the form over this file's header: its study is not this case's.
    header_overruled = models.BooleanField(default=False)
    # Technical facts of the header that intake lets through (no identity): intake.DicomFacts.
    facts = models.JSONField(default=dict)
    # 64-bit perceptual hash as a signed bigint, stored by the worker with the first result.
    phash = models.BigIntegerField(null=True)
    duplicate_of = models.ForeignKey(
        "self", on_delete=models.PROTECT, related_name="duplicates", null=True, blank=True
    )
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["created_at", "position", "id"]
        indexes = [
            models.Index(fields=["sha256"], name="image_sha256"),
            models.Index(fields=["storage_name"], name="image_storage_name"),
            models.Index(fields=["case", "created_at", "position"], name="image_of_case"),
        ]
        constraints = [
            choice_check("laterality", Laterality, name="image_laterality_known"),
            models.CheckConstraint(
                condition=models.Q(frame__lt=models.F("frames")), name="image_frame_in_range"
            ),
        ]


class Frame(models.Model):
    """One frame as a lossless PNG: what the model reads, except of a JPEG or PNG file."""

    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="frame_rows")
    index = models.PositiveIntegerField()
    storage_name = models.CharField(max_length=128)
    sha256 = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["image", "index"], name="frame_once")]
        indexes = [models.Index(fields=["storage_name"], name="frame_storage_name")]
