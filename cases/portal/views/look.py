"""What the submit page asks about each chosen file before it is sent for good."""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpRequest, HttpResponse, JsonResponse

from cases.access import Capability
from cases.errors import FieldInvalid
from cases.intake import DicomFacts
from cases.intake.upload import HashedUploadedFile
from cases.portal.forms import name_as_typed
from cases.portal.views.base import PortalView
from cases.services.looking import Look, file_look
from cases.services.uploads import upload_of
from cases.told import told


class SubmissionLookView(PortalView):
    """One file in, JSON out: why it would be refused, or what the form can take from its header.

    A refused file is an answer (200), not an error. Nothing is stored, so nothing is audited; what
    is told is what the sender just sent.
    """

    takes_uploads = True
    any_of = (Capability.SUBMIT,)
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest) -> HttpResponse:
        files = cast(list[HashedUploadedFile], request.FILES.getlist("file"))
        try:
            if len(files) != 1:
                raise FieldInvalid("Send one file.", errors={"file": ["Send one file."]})
            look = file_look(actor=self.actor, upload=upload_of(files[0]))
        finally:
            for file in files:
                file.close()
        return JsonResponse(_told(look))


def _told(look: Look) -> dict[str, Any]:
    if look.refusal is not None:
        return {"ok": False, "code": look.refusal.code, "detail": told(look.refusal.detail)}
    image = look.image
    assert image is not None
    return {
        "ok": True,
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "frames": image.frames,
        "header": _header(image.dicom) if image.dicom is not None else None,
    }


def _header(dicom: DicomFacts) -> dict[str, str]:
    """By the names of the form's fields, as somebody would type them; "" where it says nothing.

    Of the patient only where it names them by an id, as a submission takes it.
    """
    who = dicom.identity
    told = {
        "accession_number": who.accession_number,
        "accession_issuer": who.accession_issuer if who.accession_number else "",
        "laterality": dicom.laterality,
    }
    if not who.patient_id:
        return told
    return told | {
        "patient_id": who.patient_id,
        "patient_issuer": who.patient_issuer,
        "patient_name": name_as_typed(who.patient_name),
        "birth_date": who.birth_date.isoformat() if who.birth_date else "",
        "sex": who.sex,
    }
