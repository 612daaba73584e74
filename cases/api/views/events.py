"""Waiting for jobs to move, as server-sent events."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework.request import Request

from cases.access import Capability
from cases.api.base import AnyAccept, ApiView
from cases.api.documentation import operation, response_header
from cases.api.permissions import any_of
from cases.events.hub import reserved
from cases.events.response import EVENT_STREAM, EventStream
from cases.events.seats import JobNow, Topic, end_bytes, snapshot_bytes
from cases.models import ApiToken
from cases.selectors.callers import Caller
from cases.selectors.live import (
    case_now,
    case_waitable,
    job_now,
    job_waitable,
    site_waitable,
    submission_now,
    submission_waitable,
)

_SHAPE = (
    '`text/event-stream` (WHATWG HTML, server-sent events). First `snapshot`: `{"jobs": [{id, '
    "kind, state, attempt}]}`; then `job` for each move: `{id, kind, state, attempt, submission}`; "
    'last `end`: `{"reason": "finished" | "again" | "closed"}`. An event means "look": '
    "the answer is at the job's own address. Comments keep the connection open."
)
_STREAM = {
    (200, EVENT_STREAM): OpenApiResponse(OpenApiTypes.STR, description="Events."),
    204: OpenApiResponse(
        description="Nothing more comes after the event in Last-Event-ID: do not ask again."
    ),
}
_PARAMETERS = (
    OpenApiParameter(
        name="Last-Event-ID",
        type={"type": "string", "maxLength": 20},
        location=OpenApiParameter.HEADER,
        description="Sent by a client that comes back; EventSource does by itself.",
    ),
    response_header("X-Accel-Buffering", "`no`: proxies pass events on at once.", [200]),
)


class EventsApi(ApiView):
    """A view whose answer goes on as events. It stands for no thread while it does."""

    # It is what it is: a client that asks for JSON by default is not turned away.
    content_negotiation_class = AnyAccept

    def caller(self, request: Request) -> Caller:
        actor = self.actor
        if isinstance(request.auth, ApiToken):
            return Caller("token", str(request.auth.pk), actor.capabilities)
        return Caller("session", str(request._request.session.session_key), actor.capabilities)

    def stream(
        self, request: Request, topic: Topic, now: Callable[[], list[JobNow]]
    ) -> HttpResponse:
        """A seat, and then how things are: news of what moves in between waits at the seat."""
        with reserved(caller=self.caller(request), topic=topic) as seat:
            jobs = now()
            topic.begin(jobs)
            stream = EventStream(snapshot_bytes(jobs), seat=seat)
        if not topic.has_ended:
            return stream
        stream.close()
        if _has_seen(request, jobs):
            return HttpResponse(status=204)
        return EventStream(snapshot_bytes(jobs) + end_bytes("finished"), seat=None)


def _has_seen(request: Request, jobs: list[JobNow]) -> bool:
    """Whether the client comes back with the last event there is."""
    seen = request.headers.get("Last-Event-ID", "")
    return seen == str(max((job.event for job in jobs), default=0))


class JobEventsApi(EventsApi):
    required = {"GET": any_of(Capability.VIEW_CASES, Capability.SUBMIT, Capability.OPERATE)}

    @operation(
        summary="Wait for a job",
        description=f"Until it has ended. {_SHAPE}",
        parameters=_PARAMETERS,
        success=_STREAM,
        errors=(404,),
    )
    def get(self, request: Request, job_id: UUID) -> HttpResponse:
        job_waitable(actor=self.actor, job_id=job_id)
        topic = Topic(frozenset({f"job:{job_id}"}), ends=True)
        return self.stream(request, topic, lambda: job_now(job_id=job_id))


class SubmissionEventsApi(EventsApi):
    required = {"GET": any_of(Capability.VIEW_CASES, Capability.SUBMIT)}

    @operation(
        summary="Wait for the jobs of a submission",
        description=f"Until all have ended, reruns included. {_SHAPE}",
        parameters=_PARAMETERS,
        success=_STREAM,
        errors=(404,),
    )
    def get(self, request: Request, submission_id: UUID) -> HttpResponse:
        submission_waitable(actor=self.actor, submission_id=submission_id)
        topic = Topic(frozenset({f"submission:{submission_id}"}), ends=True)
        return self.stream(request, topic, lambda: submission_now(submission_id=submission_id))


class CaseEventsApi(EventsApi):
    required = {"GET": any_of(Capability.VIEW_CASES)}

    @operation(
        summary="Follow the jobs of a case",
        description=f"Images that come in later included; it ends with the connection. {_SHAPE}",
        parameters=_PARAMETERS,
        success=_STREAM,
        errors=(404,),
    )
    def get(self, request: Request, case_id: UUID) -> HttpResponse:
        images = case_waitable(actor=self.actor, case_id=case_id)
        keys = {f"case:{case_id}", *(f"image:{image_id}" for image_id in images)}
        return self.stream(request, Topic(frozenset(keys)), lambda: case_now(image_ids=images))


class SiteEventsApi(EventsApi):
    required = {"GET": any_of(Capability.VIEW_CASES, Capability.OPERATE)}

    @operation(
        summary="Follow all jobs of the site",
        description=(
            "The snapshot is empty: list the jobs once the connection stands. It ends with the "
            f"connection. {_SHAPE}"
        ),
        parameters=_PARAMETERS,
        success=_STREAM,
        operation_id="events_list",
    )
    def get(self, request: Request) -> HttpResponse:
        site_id = site_waitable(actor=self.actor)
        return self.stream(request, Topic(frozenset({f"site:{site_id}"})), list)
