"""Following jobs, calling them off, asking again."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db.models import QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ApiView, ListApi
from cases.api.conditional import answer, not_modified, unchanged, weak_etag
from cases.api.documentation import NOT_MODIFIED, POLL, operation, response_header
from cases.api.permissions import any_of
from cases.api.serializers.jobs import JobListItemSerializer, JobSerializer
from cases.api.serializers.queries import (
    CREATED,
    JobQuerySerializer,
    ListQuerySerializer,
    RerunSerializer,
)
from cases.models import Job
from cases.selectors.jobs import (
    JobGlance,
    glance_of,
    job_get,
    job_glance,
    job_list,
    queue_position,
)
from cases.selectors.reads import results_unread
from cases.selectors.serving import Suspension, held_by_suspension, suspension_now
from cases.services.jobs import job_cancel, job_rerun
from cases.services.results import result_read_note
from cases.vocabulary import PriorityRank


def suspension_of(job: JobGlance) -> Suspension | None:
    """Whether answers are suspended; not asked for a job that has ended."""
    return suspension_now() if job.is_active else None


def job_etag(job_id: UUID, job: JobGlance, suspension: Suspension | None) -> str:
    """Over all that `GET /jobs/{id}/` shows and that may change, except the queue position."""
    held = suspension.since if suspension and held_by_suspension(job) else None
    return weak_etag(job_id, job, held)


class JobApi(ApiView):
    """A view that answers with one job."""

    def job_answer(self, job: Job, *, status: int = 200, **headers: str) -> Response:
        """``job`` as JSON; its result counts as read by this reader.

        Who runs the queue without seeing cases sees the job without its result.
        """
        glance = glance_of(job)
        suspension = suspension_of(glance)
        data = self.shown(
            JobSerializer, job, queue_position=queue_position(job), suspension=suspension
        )
        result = getattr(job, "result", None)
        if not (self.actor.can(Capability.VIEW_CASES) or self.actor.can(Capability.SUBMIT)):
            data["result"] = None
        elif result is not None and results_unread(actor=self.actor, results=[result]):
            # The image is loaded for the first read only: who polls has seen it already.
            result_read_note(actor=self.actor, result=result, case_id=result.image.case_id)
        return answer(
            data,
            etag=job_etag(job.pk, glance, suspension),
            status=status,
            headers={**self.pace(glance), **headers},
        )

    @staticmethod
    def pace(job: JobGlance) -> dict[str, str]:
        """When to ask again, while the job is not at its end."""
        return {"Retry-After": "1"} if job.is_active else {}


class JobListApi(ListApi):
    required = {"GET": any_of(Capability.VIEW_CASES, Capability.OPERATE)}
    query: ClassVar[type[ListQuerySerializer]] = JobQuerySerializer
    output = JobListItemSerializer
    filters = {
        **CREATED,
        "state": "state",
        "kind": "kind",
        "case": "image__case_id",
        "submission": "submission_id",
        "image": "image_id",
    }

    def rows(self, query: dict[str, Any]) -> QuerySet[Job]:
        wanted = self.filtered(query)
        if "priority" in query:
            wanted["priority"] = PriorityRank[query["priority"].upper()]
        return job_list(actor=self.actor).filter(**wanted)

    @operation(
        summary="The jobs of the site, newest first",
        parameters=[JobQuerySerializer],
        operation_id="jobs_list",
        success={(200, "application/json"): JobListItemSerializer(many=True)},
        errors=(422,),
    )
    def get(self, request: Request) -> Response:
        return super().get(request)


class JobDetailApi(JobApi):
    required = {"GET": any_of(Capability.VIEW_CASES, Capability.SUBMIT, Capability.OPERATE)}

    @operation(
        summary="A job and, once it has succeeded, its result",
        description=(
            "Made for polling: send the ETag back in If-None-Match and heed Retry-After. The "
            "ETag ignores `queue_position`, which is null beyond 1,000 and once a worker has the "
            "job. `held` says why a waiting job is not taken: answers are suspended. A refused or "
            "abstained image is SUCCEEDED with its outcome and reason."
        ),
        parameters=POLL,
        success={200: JobSerializer, **NOT_MODIFIED},
        errors=(404,),
    )
    def get(self, request: Request, job_id: UUID) -> Response:
        if "If-None-Match" in request.headers:
            glance = job_glance(actor=self.actor, job_id=job_id)
            etag = job_etag(job_id, glance, suspension_of(glance))
            if not_modified(request, etag):
                return unchanged(etag=etag, headers=self.pace(glance))
        return self.job_answer(job_get(actor=self.actor, job_id=job_id))


class JobCancelApi(JobApi):
    required = {"POST": any_of(Capability.SUBMIT, Capability.OPERATE)}

    @operation(
        summary="Call a waiting or running job off",
        description=(
            "Twice is once. 409 where the job has ended otherwise, and for a training: the "
            "`cancel` of its run asks for a reason."
        ),
        request=None,
        success={200: JobSerializer},
        errors=(404, 409, 413, 415),
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        seen = job_get(actor=self.actor, job_id=job_id)
        job_cancel(actor=self.actor, job_id=seen.pk)
        job = job_get(actor=self.actor, job_id=job_id)
        return self.job_answer(job)


class JobRerunApi(JobApi):
    required = {"POST": any_of(Capability.SUBMIT, Capability.OPERATE)}

    @operation(
        summary="Ask again: a new job for the same image on the live model",
        description=(
            "The old job and its result stay. `frame` asks for another frame of a cine. 409 while "
            "a job for this image and frame waits or runs."
        ),
        request=RerunSerializer,
        parameters=[response_header("Location", "Address of the new job.", [202])],
        success={202: JobSerializer},
        errors=(404, 409, 410, 413, 415, 422),
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        wanted = self.checked(RerunSerializer, request.data)
        seen = job_get(actor=self.actor, job_id=job_id)
        made = job_rerun(actor=self.actor, job_id=seen.pk, frame=wanted.get("frame"))
        job = job_get(actor=self.actor, job_id=made.pk)
        location = self.link("job-detail", job.pk)
        return self.job_answer(job, status=202, Location=location)
