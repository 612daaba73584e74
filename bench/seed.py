"""Rows to measure with, written in bulk: cases with images and bytes, and years of history."""

from __future__ import annotations

from django.core.files.base import ContentFile

from bench.pictures import pictures
from cases.access import SYSTEM
from cases.models import Case, Image, Patient, Site, Submission
from cases.services.people import site_create
from cases.storage import blob_name, uploads


def site() -> Site:
    return site_create(actor=SYSTEM, code="bench", name="A site")


def images(site: Site, count: int) -> list[Image]:
    """Images of one case that wait for their jobs, sharing the bytes of a few phantoms."""
    names = []
    for number, data in enumerate(pictures()):
        name = blob_name(f"{number:064x}")
        if not uploads().exists(name):
            uploads().save(name, ContentFile(data))
        names.append(name)
    patient = Patient.objects.create(site=site, patient_id="BENCH", issuer="BENCH")
    case = Case.objects.create(site=site, patient=patient)
    submission = Submission.objects.create(site=site, case=case, fingerprint="")
    return Image.objects.bulk_create(
        Image(
            case=case,
            submission=submission,
            position=number,
            file_name="phantom.jpg",
            sha256=f"{number % len(names):064x}",
            size=1,
            storage_name=names[number % len(names)],
            format="JPEG",
            media_type="image/jpeg",
            width=500,
            height=470,
        )
        for number in range(count)
    )
