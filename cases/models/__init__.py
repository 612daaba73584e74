"""The tables, one file per concept."""

from cases.models.audit import AuditEvent
from cases.models.blobs import Blob, BlobChunk
from cases.models.imaging import IDEMPOTENCY_LIFE, Case, Finding, Frame, Image, Patient, Submission
from cases.models.jobs import Job, JobEvent, ServiceHeartbeat
from cases.models.learning import ModelEvent, ModelVersion
from cases.models.people import ApiToken, Site, User, UserRole
from cases.models.readings import Reading
from cases.models.results import Replay, Result, ResultRead
from cases.models.review import (
    FindingOutcome,
    PatientCorrection,
    PatientErasure,
    ResultWithdrawal,
)

__all__ = [
    "IDEMPOTENCY_LIFE",
    "ApiToken",
    "AuditEvent",
    "Blob",
    "BlobChunk",
    "Case",
    "Finding",
    "FindingOutcome",
    "Frame",
    "Image",
    "Job",
    "JobEvent",
    "ModelEvent",
    "ModelVersion",
    "Patient",
    "PatientCorrection",
    "PatientErasure",
    "Reading",
    "Replay",
    "Result",
    "ResultRead",
    "ResultWithdrawal",
    "ServiceHeartbeat",
    "Site",
    "Submission",
    "User",
    "UserRole",
]
