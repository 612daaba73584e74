"""Computing a result again, and what came of it."""

from __future__ import annotations

from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ApiView
from cases.api.conditional import answer, content_etag, not_modified, unchanged
from cases.api.documentation import NOT_MODIFIED, POLL, operation, response_header
from cases.api.permissions import any_of
from cases.api.serializers.replays import ReplaySerializer
from cases.errors import NotFound
from cases.models import Job
from cases.selectors.replays import replayable_get, replays_last
from cases.services.replays import replay_request
from cases.services.results import result_read_note
from cases.states import JOB, JobState


class ResultReplayApi(ApiView):
    required = {
        "GET": any_of(Capability.VIEW_CASES, Capability.SUBMIT, Capability.OPERATE),
        "POST": any_of(Capability.SUBMIT, Capability.OPERATE),
    }

    def replay_answer(self, request: Request, job: Job, *, status: int = 200) -> Response:
        with_answers = self.actor.can(Capability.VIEW_CASES) or self.actor.can(Capability.SUBMIT)
        data = self.shown(ReplaySerializer, job, with_answers=with_answers)
        etag = content_etag(data)
        active = JobState(job.state) in JOB.active
        headers = {"Retry-After": "1"} if active else {}
        if not_modified(request, etag):
            return unchanged(etag=etag, headers=headers)
        result = job.replay_of
        if data["differences"] and result is not None:
            # They hold stored values.
            result_read_note(actor=self.actor, result=result, case_id=result.image.case_id)
        if status == 202:
            headers["Location"] = data["url"]
        return answer(data, etag=etag, status=status, headers=headers)

    @operation(
        summary="The newest replay of a result",
        description=(
            "`equal` says whether the stored result came out again within the tolerance, and "
            "`differences` what did not. 404 where nobody has asked for one."
        ),
        parameters=POLL,
        success={200: ReplaySerializer, **NOT_MODIFIED},
        errors=(404,),
    )
    def get(self, request: Request, result_id: UUID) -> Response:
        result = replayable_get(actor=self.actor, result_id=result_id)
        job = replays_last([result.pk]).get(result.pk)
        if job is None:
            raise NotFound("This result has not been computed again yet.")
        return self.replay_answer(request, job)

    @operation(
        summary="Compute a result again",
        description=(
            "With the model, image and frame it was made with; the stored result never changes. "
            "While a replay waits or runs, asking again gives that one. 503 where too many of the "
            "site's replays wait or run."
        ),
        request=None,
        parameters=[
            response_header("Location", "Where to see what came of it.", [202]),
            response_header("Retry-After", "Seconds until the first look.", [202]),
        ],
        success={202: ReplaySerializer},
        errors=(404, 410, 413, 415, 503),
    )
    def post(self, request: Request, result_id: UUID) -> Response:
        result = replayable_get(actor=self.actor, result_id=result_id)
        replay_request(actor=self.actor, result_id=result.pk)
        job = replays_last([result.pk])[result.pk]
        return self.replay_answer(request, job, status=202)
