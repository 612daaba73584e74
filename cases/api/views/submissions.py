"""Handing in files, and what became of them."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiParameter
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ApiView, ListApi
from cases.api.conditional import answer, not_modified, unchanged, weak_etag
from cases.api.documentation import NOT_MODIFIED, POLL, operation, response_header
from cases.api.errors import RequestMalformed
from cases.api.permissions import any_of
from cases.api.serializers.queries import CREATED, SubmissionQuerySerializer
from cases.api.serializers.submissions import (
    SubmissionFormSerializer,
    SubmissionListItemSerializer,
    SubmissionSerializer,
)
from cases.api.uploads import uploads_of
from cases.errors import FieldInvalid
from cases.models import Submission
from cases.selectors.cases import submission_get, submission_list
from cases.services.fields import submission_fields_parse
from cases.services.submission import submission_create
from cases.states import JOB, JobState

_KEY = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,198}[\x21-\x7e])?")
IDEMPOTENCY_KEY = OpenApiParameter(
    name="Idempotency-Key",
    type={"type": "string", "minLength": 1, "maxLength": 200},
    location=OpenApiParameter.HEADER,
    description="1 to 200 printable ASCII characters, kept 24 h per token.",
)


class SubmissionListApi(ListApi):
    takes_uploads = True
    required = {
        "GET": any_of(Capability.VIEW_CASES, Capability.SUBMIT),
        "POST": any_of(Capability.SUBMIT),
    }
    parser_classes = (MultiPartParser,)
    query = SubmissionQuerySerializer
    output = SubmissionListItemSerializer
    filters = {**CREATED, "case": "case_id"}

    def rows(self, query: dict[str, Any]) -> QuerySet[Submission]:
        submissions = submission_list(actor=self.actor, own=query.get("own"))
        return submissions.filter(**self.filtered(query))

    @operation(
        summary="The submissions of the site, newest first",
        description="With a scope of `submit` only: those of this token.",
        parameters=[SubmissionQuerySerializer],
        operation_id="submissions_list",
        success={(200, "application/json"): SubmissionListItemSerializer(many=True)},
        errors=(422,),
    )
    def get(self, request: Request) -> Response:
        return super().get(request)

    @operation(
        summary="Hand in one or more images of a case",
        description=(
            "All files are taken in, or none (`on_bad_file=skip`: each bad file is skipped and "
            "reported). With an Idempotency-Key the same request again answers with the same "
            "submission; another request under that key is refused. 503 before the upload is read "
            "where there is no room for it: too many images wait, or the disk is full."
        ),
        operation_id="submissions_create",
        request={"multipart/form-data": SubmissionFormSerializer},
        parameters=[
            IDEMPOTENCY_KEY,
            response_header("Location", "Address of the submission.", [202]),
        ],
        success={202: SubmissionSerializer},
        errors=(409, 413, 415, 422),
    )
    def post(self, request: Request) -> Response:
        if "chunked" in request.headers.get("Transfer-Encoding", ""):
            # WSGI gives Django no body without its length; "no file" would be a riddle.
            raise RequestMalformed("Send the request with its Content-Length, not in chunks.")
        with uploads_of(request.FILES.getlist("file")) as uploads:
            created = submission_create(
                actor=self.actor,
                fields=submission_fields_parse(request.POST),
                uploads=uploads,
                idempotency_key=idempotency_key(request),
            )
        submission = submission_get(actor=self.actor, submission_id=created.pk)
        return Response(
            self.shown(SubmissionSerializer, submission),
            status=202,
            headers={"Location": self.link("submission-detail", submission.pk)},
        )


def idempotency_key(request: Request) -> str:
    """The header's value, "" without one. ``FieldInvalid`` for what is no key."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return ""
    if not _KEY.fullmatch(key):
        raise FieldInvalid(errors={"Idempotency-Key": ["1 to 200 printable ASCII characters."]})
    return key


class SubmissionDetailApi(ApiView):
    required = {"GET": any_of(Capability.VIEW_CASES, Capability.SUBMIT)}

    @operation(
        summary="A submission and the states of its jobs",
        description="The shape of the receipt, with the jobs as they are now; reruns included.",
        parameters=POLL,
        success={200: SubmissionSerializer, **NOT_MODIFIED},
        errors=(404,),
    )
    def get(self, request: Request, submission_id: UUID) -> Response:
        submission = submission_get(actor=self.actor, submission_id=submission_id)
        etag, headers = _state_of(submission)
        if not_modified(request, etag):
            return unchanged(etag=etag, headers=headers)
        return answer(self.shown(SubmissionSerializer, submission), etag=etag, headers=headers)


def _state_of(submission: Submission) -> tuple[str, dict[str, str]]:
    """The ETag over all jobs, and when to ask again while any is unfinished."""
    jobs = [(job.pk, job.state, job.attempt) for job in submission.jobs.all()]
    unfinished = any(JobState(state) in JOB.active for _, state, _ in jobs)
    return weak_etag(submission.pk, jobs), {"Retry-After": "1"} if unfinished else {}
