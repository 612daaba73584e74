"""Images: what is known of them, the file, pictures of their frames."""

from __future__ import annotations

from uuid import UUID

from django.http import FileResponse, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiResponse
from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import AnyAccept, ApiView
from cases.api.conditional import answer, content_etag, not_modified, unchanged
from cases.api.documentation import (
    CONDITIONAL,
    NOT_MODIFIED,
    PNG,
    operation,
    response_header,
)
from cases.api.permissions import any_of
from cases.api.reads import note_reads
from cases.api.serializers.cases import AnsweredImageSerializer
from cases.api.serializers.queries import PreviewQuerySerializer
from cases.intake.formats import MEDIA_TYPES
from cases.reports.answers import image_answer
from cases.selectors.cases import image_get
from cases.services.previews import check_frame, image_file, image_preview, refuse_erased

# A picture never changes, but access may end: a browser keeps it for minutes, not days.
PICTURE_CACHE = "private, max-age=300"
_EXTENSIONS = {
    "JPEG": "jpg",
    "PNG": "png",
    "BMP": "bmp",
    "TIFF": "tiff",
    "WEBP": "webp",
    "DICOM": "dcm",
}


class ImageDetailApi(ApiView):
    required = {"GET": any_of(Capability.VIEW_CASES)}

    @operation(
        summary="An image and its answer",
        parameters=CONDITIONAL,
        success={200: AnsweredImageSerializer, **NOT_MODIFIED},
        errors=(404,),
    )
    def get(self, request: Request, image_id: UUID) -> Response:
        image = image_get(actor=self.actor, image_id=image_id)
        data = self.shown(AnsweredImageSerializer, image)
        etag = content_etag(data)
        if not_modified(request, etag):
            return unchanged(etag=etag)
        note_reads(self.actor, [image_answer(image)])
        return answer(data, etag=etag)


class ImageFileApi(ApiView):
    # A DICOM header names the patient: the file is identity, not only a picture.
    required = {"GET": any_of(Capability.VIEW_IDENTITY)}
    content_negotiation_class = AnyAccept

    @operation(
        summary="The file as it was sent",
        description=(
            "For readers who may see identity: a DICOM header names the patient. Audited as a "
            "download."
        ),
        parameters=[
            response_header("Content-Disposition", "attachment, under the image's id.", [200])
        ],
        success={
            (200, media_type): OpenApiResponse(OpenApiTypes.BINARY, description="The file.")
            for media_type in MEDIA_TYPES.values()
        },
        errors=(404, 410),
    )
    def get(self, request: Request, image_id: UUID) -> FileResponse:
        image = image_get(actor=self.actor, image_id=image_id)
        file = image_file(actor=self.actor, image=image)
        # Never the sender's name for the file: it may hold a patient's, or worse.
        name = f"{image.pk}.{_EXTENSIONS.get(image.format, 'bin')}"
        return FileResponse(
            file,
            as_attachment=True,
            filename=name,
            content_type=image.media_type,
            headers={
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "private, no-store",
            },
        )


class ImagePreviewApi(ApiView):
    required = {"GET": any_of(Capability.VIEW_CASES)}
    content_negotiation_class = AnyAccept

    @operation(
        summary="A PNG of one frame as displayed",
        description="Carries no metadata of the file. Audited as a view; a 304 is not.",
        parameters=[PreviewQuerySerializer, *CONDITIONAL],
        success={(200, "image/png"): PNG, **NOT_MODIFIED},
        errors=(404, 410, 422),
    )
    def get(self, request: Request, image_id: UUID) -> HttpResponse | Response:
        query = self.checked(PreviewQuerySerializer, request.query_params)
        image = image_get(actor=self.actor, image_id=image_id)
        refuse_erased(image)
        frame = query.get("frame", image.frame)
        check_frame(image, frame)
        headers = {"ETag": f'"{image.sha256}-{frame}"', "Cache-Control": PICTURE_CACHE}
        if not_modified(request, headers["ETag"]):
            return HttpResponse(status=304, headers=headers)
        png = image_preview(actor=self.actor, image=image, frame=frame)
        return HttpResponse(png, content_type="image/png", headers=headers)
