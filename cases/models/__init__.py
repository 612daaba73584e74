"""The tables, one file per concept."""

from cases.models.audit import AuditEvent
from cases.models.blobs import Blob, BlobChunk
from cases.models.imaging import IDEMPOTENCY_LIFE, Case, Finding, Frame, Image, Patient, Submission
from cases.models.jobs import Job, JobEvent, ServiceHeartbeat
from cases.models.learning import ModelEvent, ModelVersion
from cases.models.people import ApiToken, Site, User, UserRole
from cases.models.results import Replay, Result, ResultRead
from cases.models.training import (
    ScheduleFiring,
    TrainingEpoch,
    TrainingRun,
    TrainingSchedule,
    TrainingSnapshot,
)

__all__ = [
    "IDEMPOTENCY_LIFE",
    "ApiToken",
    "AuditEvent",
    "Blob",
    "BlobChunk",
    "Case",
    "Finding",
    "Frame",
    "Image",
    "Job",
    "JobEvent",
    "ModelEvent",
    "ModelVersion",
    "Patient",
    "Replay",
    "Result",
    "ResultRead",
    "ScheduleFiring",
    "ServiceHeartbeat",
    "Site",
    "Submission",
    "TrainingEpoch",
    "TrainingRun",
    "TrainingSchedule",
    "TrainingSnapshot",
    "User",
    "UserRole",
]
