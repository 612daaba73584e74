"""Pictures and files of a case: previews, originals, heatmaps."""

from __future__ import annotations

from uuid import UUID

from django.http import FileResponse, HttpRequest, HttpResponse
from django.utils.http import content_disposition_header

from cases.access import Capability
from cases.errors import FieldInvalid, NotFound
from cases.portal.views.base import PortalView
from cases.reports.heatmap import CLASSES, result_heatmap_png
from cases.selectors.cases import image_get, result_get
from cases.services.cine import image_frames
from cases.services.previews import image_file, image_preview, refuse_erased
from cases.services.results import result_read_note


class ImagePreviewView(PortalView):
    """A PNG of one frame as displayed; `?frame=` counts from zero, as in DICOM and the API."""

    any_of = (Capability.VIEW_CASES,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, image_id: UUID) -> HttpResponse:
        image = image_get(actor=self.actor, image_id=image_id)
        typed = request.GET.get("frame", "")
        if typed and not (typed.isascii() and typed.isdigit() and len(typed) < 7):
            raise NotFound("There is no such frame.")
        frame = int(typed) if typed else image.frame
        if frame >= image.frames:
            raise NotFound("There is no such frame.")
        png = image_preview(actor=self.actor, image=image, frame=frame)
        return HttpResponse(png, content_type="image/png")


class ImageFramesView(PortalView):
    """Several frames of a cine at once: for each its length in four bytes, then its PNG."""

    any_of = (Capability.VIEW_CASES,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, image_id: UUID) -> HttpResponse:
        image = image_get(actor=self.actor, image_id=image_id)
        first, count = (request.GET.get(name, "") for name in ("first", "count"))
        if not all(n.isascii() and n.isdigit() and len(n) < 7 for n in (first, count)):
            raise NotFound("There are no such frames.")
        try:
            frames = image_frames(actor=self.actor, image=image, first=int(first), count=int(count))
        except FieldInvalid:
            raise NotFound("There are no such frames.") from None
        body = b"".join(len(png).to_bytes(4, "big") + png for png in frames)
        return HttpResponse(body, content_type="application/octet-stream")


class ImageFileView(PortalView):
    """The file as it was sent. A DICOM header names the patient, so the role must allow that."""

    any_of = (Capability.VIEW_IDENTITY,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, image_id: UUID) -> FileResponse:
        image = image_get(actor=self.actor, image_id=image_id)
        file = image_file(actor=self.actor, image=image)
        response = FileResponse(file, content_type=image.media_type)
        disposition = content_disposition_header(True, image.file_name)
        if disposition:
            response.headers["Content-Disposition"] = disposition
        return response


class ResultHeatmapView(PortalView):
    """Where the model found what speaks for a class, as a picture to lay over the frame."""

    any_of = (Capability.VIEW_CASES,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, result_id: UUID) -> HttpResponse:
        result = result_get(actor=self.actor, result_id=result_id)
        refuse_erased(result.image)
        label = request.GET.get("class", "malignant")
        png = result_heatmap_png(result, label) if label in CLASSES else None
        if png is None:
            raise NotFound("There is no heatmap for this answer.")
        result_read_note(actor=self.actor, result=result, case_id=result.image.case_id)
        return HttpResponse(png, content_type="image/png")
