"""Snapshots, and training runs: start, follow, cancel."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ApiView, ListApi
from cases.api.conditional import answer, content_etag, not_modified, unchanged
from cases.api.documentation import NOT_MODIFIED, POLL, operation, response_header
from cases.api.pagination import KeysetPagination, moment
from cases.api.permissions import any_of
from cases.api.serializers.queries import (
    CREATED,
    CreatedQuerySerializer,
    TrainingRunQuerySerializer,
)
from cases.api.serializers.training import (
    CancelReasonSerializer,
    SnapshotSerializer,
    TrainingRequestSerializer,
    TrainingRunDetailSerializer,
    TrainingRunSerializer,
)
from cases.api.views.submissions import IDEMPOTENCY_KEY, idempotency_key
from cases.models import TrainingRun, TrainingSnapshot
from cases.selectors.snapshots import snapshot_get, snapshot_list
from cases.selectors.training import training_run_get, training_run_list
from cases.services.training import training_run_cancel, training_run_request
from cases.services.training_fields import training_plan_parse
from cases.states import JOB, JobState
from cases.vocabulary import IfRunning


def _hash(value: Any) -> str:
    text = str(value)
    if len(text) > 64 or not text.isalnum():
        raise ValueError("no hash")
    return text


class SnapshotCursorPagination(KeysetPagination):
    key = (("created_at", moment), ("id", _hash))


class RunCursorPagination(KeysetPagination):
    key = (("created_at", moment), ("job_id", UUID))


class SnapshotListApi(ListApi):
    required = {"GET": any_of(Capability.VIEW_MODELS, Capability.TRAIN)}
    pagination_class = SnapshotCursorPagination
    query = CreatedQuerySerializer
    output = SnapshotSerializer
    filters = CREATED

    def rows(self, query: dict[str, Any]) -> QuerySet[TrainingSnapshot]:
        return snapshot_list(actor=self.actor).filter(**self.filtered(query))

    @operation(
        summary="The snapshots that models can be trained from, newest first",
        description="`manage.py import_dataset` makes them.",
        parameters=[CreatedQuerySerializer],
        operation_id="training_snapshots_list",
        success={(200, "application/json"): SnapshotSerializer(many=True)},
        errors=(422,),
    )
    def get(self, request: Request) -> Response:
        return super().get(request)


class SnapshotDetailApi(ApiView):
    required = {"GET": any_of(Capability.VIEW_MODELS, Capability.TRAIN)}

    @operation(summary="A snapshot", success={200: SnapshotSerializer}, errors=(404,))
    def get(self, request: Request, snapshot_id: str) -> Response:
        snapshot = snapshot_get(actor=self.actor, snapshot_id=snapshot_id)
        return Response(self.shown(SnapshotSerializer, snapshot))


class _RunApi(ApiView):
    def run_answer(self, run_id: UUID, *, status: int = 200) -> Response:
        run = training_run_get(actor=self.actor, run_id=run_id)
        data = self.shown(TrainingRunDetailSerializer, run)
        etag = content_etag(data)
        active = JobState(run.job.state) in JOB.active
        headers = {"Retry-After": "2"} if active else {}
        if status == 200 and not_modified(self.request, etag):
            return unchanged(etag=etag, headers=headers)
        if status == 202:
            headers["Location"] = data["url"]
        return answer(data, etag=etag, status=status, headers=headers)


class TrainingRunListApi(ListApi, _RunApi):
    required = {
        "GET": any_of(Capability.VIEW_MODELS, Capability.TRAIN),
        "POST": any_of(Capability.TRAIN),
    }
    pagination_class = RunCursorPagination
    query = TrainingRunQuerySerializer
    output = TrainingRunSerializer
    filters = {**CREATED, "state": "job__state", "snapshot": "snapshot_id"}

    def rows(self, query: dict[str, Any]) -> QuerySet[TrainingRun]:
        return training_run_list(actor=self.actor).filter(**self.filtered(query))

    @operation(
        summary="The training runs of the site, newest first",
        parameters=[TrainingRunQuerySerializer],
        operation_id="training_runs_list",
        success={(200, "application/json"): TrainingRunSerializer(many=True)},
        errors=(422,),
    )
    def get(self, request: Request) -> Response:
        return super().get(request)

    @operation(
        summary="Train a model from a snapshot",
        description=(
            "What comes of it is a candidate: it answers no image until somebody else approves "
            "it. One run at a time: while another one waits or runs, `if_running` refuses this "
            "one (409, the detail names that run) or queues it (`waits_for` names it). With an "
            "Idempotency-Key the same request again answers with the same run."
        ),
        request=TrainingRequestSerializer,
        parameters=[
            IDEMPOTENCY_KEY,
            response_header("Location", "Address of the run.", [202]),
            response_header("Retry-After", "Seconds until the first look.", [202]),
        ],
        operation_id="training_runs_create",
        success={202: TrainingRunDetailSerializer},
        errors=(409, 413, 415, 422),
    )
    def post(self, request: Request) -> Response:
        wanted = self.checked(TrainingRequestSerializer, request.data)
        run = training_run_request(
            actor=self.actor,
            snapshot_id=wanted["snapshot"],
            plan=training_plan_parse(wanted),
            reason=wanted["reason"],
            if_running=IfRunning(wanted["if_running"]),
            gate_plan_id=wanted["plan"],
            idempotency_key=idempotency_key(request),
        )
        return self.run_answer(run.pk, status=202)


class TrainingRunDetailApi(_RunApi):
    required = {"GET": any_of(Capability.VIEW_MODELS, Capability.TRAIN)}

    @operation(
        summary="A training run with its epoch table and the end of its log",
        parameters=POLL,
        success={200: TrainingRunDetailSerializer, **NOT_MODIFIED},
        errors=(404,),
    )
    def get(self, request: Request, run_id: UUID) -> Response:
        return self.run_answer(run_id)


class TrainingRunCancelApi(_RunApi):
    required = {"POST": any_of(Capability.TRAIN)}

    @operation(
        summary="Call a waiting or running training off",
        description="Twice is once. 409 where it has ended otherwise.",
        request=CancelReasonSerializer,
        success={200: TrainingRunDetailSerializer},
        errors=(404, 409, 413, 415, 422),
    )
    def post(self, request: Request, run_id: UUID) -> Response:
        seen = training_run_get(actor=self.actor, run_id=run_id)
        wanted = self.checked(CancelReasonSerializer, request.data)
        training_run_cancel(actor=self.actor, run_id=seen.pk, reason=wanted["reason"])
        return self.run_answer(run_id, status=200)
