"""Every format through the API: stored as it was sent, shown, read by the worker; or refused."""

from __future__ import annotations

import io
from collections import Counter

import numpy as np
import pytest
from PIL import Image as Raster

from bench.fuzz.cases import case
from cases.errors import ERRORS
from cases.models import AuditEvent, Frame, Image, Job
from cases.services.leases import engine_jobs_claim
from cases.storage import read_bytes
from tests import encoders, phantoms
from tests.api.contract import Api
from tests.encoders import written
from tests.factories import WORKER
from tests.jpeg_writers import lossless_jpeg
from tests.phantoms import bmode_phantom, dicom_bytes, dicom_dataset

GREY = bmode_phantom(1, (60, 90))


def raster(kind: str) -> bytes:
    buffer = io.BytesIO()
    Raster.fromarray(GREY).save(buffer, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "media_type", "extension"),
    [
        ("BMP", "image/bmp", "bmp"),
        ("TIFF", "image/tiff", "tiff"),
        ("WEBP", "image/webp", "webp"),
    ],
)
def test_format_is_stored_as_sent_shown_and_read_as_a_picture(
    kind: str, media_type: str, extension: str, api: Api
) -> None:
    data = raster(kind)
    posted = api.submit([("a.png", data)], patient_id="P-1").json()["images"][0]
    body = api.get(f"/images/{posted['id']}/").json()
    assert (body["format"], body["media_type"]) == (kind, media_type)
    assert (body["width"], body["height"], body["frames"]) == (90, 60, 1)

    sent = api.get(f"/images/{posted['id']}/file/")
    assert b"".join(sent.streaming_content) == data
    assert sent.headers["Content-Type"] == media_type
    assert sent.headers["Content-Disposition"].endswith(f'.{extension}"')

    preview = api.get(f"/images/{posted['id']}/preview/")
    assert np.array_equal(np.asarray(Raster.open(io.BytesIO(preview.content))), GREY)
    # The model's program reads JPEG and PNG: it is given the picture, not the file.
    claim = engine_jobs_claim(actor=WORKER, limit=1)[0]
    given = read_bytes(claim.storage_name)
    assert given.startswith(b"\x89PNG")
    assert np.array_equal(np.asarray(Raster.open(io.BytesIO(given))), GREY)


@pytest.mark.parametrize(
    "syntax", [phantoms.DEFLATED, phantoms.RLE, encoders.JPEG_LOSSLESS_FIRST, phantoms.JPEG_LS]
)
def test_every_frame_of_a_loop_has_its_preview(syntax: str, api: Api) -> None:
    stack = np.stack([bmode_phantom(seed, (48, 64)) for seed in range(4)])
    if syntax == encoders.JPEG_LOSSLESS_FIRST:
        dataset = dicom_dataset(stack)
        encoders.put(dataset, syntax, *(lossless_jpeg(one, 8) for one in stack))
        data = written(dataset)
    else:
        data = dicom_bytes(stack, transfer_syntax=syntax)
    image = api.submit([("loop.dcm", data)]).json()["images"][0]
    for index in range(4):
        picture = api.get(f"/images/{image['id']}/preview/", {"frame": str(index)})
        assert np.array_equal(np.asarray(Raster.open(io.BytesIO(picture.content))), stack[index])
    assert api.get(f"/images/{image['id']}/preview/", {"frame": "4"}).status_code == 422


def test_mutated_files_never_break_the_api_and_leave_nothing_half_stored(api: Api) -> None:
    statuses: Counter[int] = Counter()
    for number in range(60):
        file = case(2, number)
        fields = {} if file.seed.kind == "dicom" else {"patient_id": "FUZZ-1"}
        response = api.submit([("file", file.data)], **fields)
        statuses[response.status_code] += 1
        if response.status_code != 202:
            assert response.status_code < 500, file.name
            assert response.json()["code"] in ERRORS, file.name
    assert set(statuses) <= {202, 409, 413, 415, 422}
    taken = statuses[202]
    assert taken > 0
    assert (Image.objects.count(), Job.objects.count()) == (taken, taken)
    assert AuditEvent.objects.filter(action="submission.created").count() == taken
    drawn = Image.objects.exclude(format__in=("JPEG", "PNG")).count()
    assert Frame.objects.count() == drawn
