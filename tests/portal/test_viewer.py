"""The picture of an image on the case page: what its scripts are told, frames, calibration."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from PIL import Image as Raster

from cases.access import Actor
from cases.models import AuditEvent, Image, Job
from cases.services.jobs import job_rerun
from tests.cases.erasing import erase
from tests.factories import make_actor, make_site, stored_result, submit
from tests.phantoms import bmode_phantom, dicom_bytes, region
from tests.portal.conftest import SignIn, World
from tests.portal.markup import Markup, csp_faults, read, structure_faults
from tests.portal.pages import url_of

pytestmark = pytest.mark.django_db


def cine_bytes(frames: int = 11) -> bytes:
    return dicom_bytes(np.stack([bmode_phantom(seed=n, size=(48, 64)) for n in range(frames)]))


def an_image(actor: Actor, data: bytes) -> Image:
    return submit(actor=actor, files=[data], patient_id="").images.get()


def told(page: Markup) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(page.one("figure").attrs["data-stage"])
    return config


def frames_in(body: bytes) -> list[bytes]:
    found, at = [], 0
    while at < len(body):
        length = int.from_bytes(body[at : at + 4], "big")
        found.append(body[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def test_a_calibrated_region_may_be_measured_and_nothing_else(
    actor: Actor, radiologist: Client
) -> None:
    data = dicom_bytes(regions=[region((10, 5, 109, 84), mm_per_pixel=0.2)])
    page = read(radiologist.get(url_of(an_image(actor, data).case)).content)
    (area,) = told(page)["areas"]
    corners = [area[name] for name in ("x0", "y0", "x1", "y1")]
    assert corners == [10, 5, 110, 85]
    assert (area["column"], area["row"]) == pytest.approx((0.2, 0.2))
    (tool,) = page.all("input", value="measure")
    assert "disabled" not in tool.attrs
    assert page.one("ol", class_="lengths")


def test_pixel_spacing_calibrates_the_whole_frame(actor: Actor, radiologist: Client) -> None:
    data = dicom_bytes(extra={"PixelSpacing": [0.3, 0.1]})
    (area,) = told(read(radiologist.get(url_of(an_image(actor, data).case)).content))["areas"]
    assert area == {"x0": 0, "y0": 0, "x1": 128, "y1": 96, "column": 0.1, "row": 0.3}


@pytest.mark.parametrize(
    ("regions", "words"),
    [
        (None, "states no calibration"),
        # Of a larger image that was cut down.
        ([region((0, 0, 640, 480))], "of a larger image"),
        # Of a Doppler spectrum: its axes are seconds and speeds.
        ([region((0, 0, 90, 90), RegionSpatialFormat=3, RegionDataType=3)], "no calibration"),
        ([region((0, 0, 90, 90), units=4)], "states no calibration"),
    ],
)
def test_without_a_calibration_the_page_says_why_nothing_is_measured(
    regions: list[dict[str, Any]] | None, words: str, actor: Actor, radiologist: Client
) -> None:
    image = an_image(actor, dicom_bytes(regions=regions))
    page = read(radiologist.get(url_of(image.case)).content)
    assert told(page)["areas"] == []
    (tool,) = page.all("input", value="measure")
    assert "disabled" in tool.attrs
    assert words in page.one("p", id=tool.attrs["aria-describedby"]).text
    assert not page.all("ol", class_="lengths")


def test_a_raster_says_that_its_format_has_no_calibration(world: World, sign_in: SignIn) -> None:
    page = read(sign_in(world.sonographer).get(url_of(world.case)).content)
    assert "a JPEG file does not say how large a pixel is" in page.text
    assert told(page)["areas"] == []


def test_a_cine_is_told_its_frames_its_pace_and_which_were_read(
    actor: Actor, radiologist: Client
) -> None:
    image = an_image(actor, cine_bytes())
    job = image.jobs.get()
    stored_result(job, 0.3)
    stored_result(job_rerun(actor=actor, job_id=job.pk, frame=9), 0.8)
    page = read(radiologist.get(url_of(image.case)).content)
    config = told(page)
    assert (config["frames"], config["frame"], config["frameMs"]) == (11, 9, 40)
    (tools,) = page.all("div", class_="stage-tools")
    assert tools.attrs["data-answered"] == f"{job.frame},9"
    shown = {
        tag.attrs["data-frame"]: "hidden" in tag.attrs for tag in page.all("img", class_="heat")
    }
    assert shown == {str(job.frame): True, "9": False}
    button = next(tag for tag in page.all("button") if "read-frame" in tag.attrs["class"])
    form = page.one("form", id=button.attrs["form"])
    again = Job.objects.filter(rerun_of=job).get()
    assert form.attrs["action"] == reverse("job-rerun", args=[again.pk])
    assert (csp_faults(page), structure_faults(page)) == ([], [])


def test_frames_come_several_at_once_and_leave_one_line(actor: Actor, radiologist: Client) -> None:
    image = an_image(actor, cine_bytes())
    url = reverse("image-frames", args=[image.pk])
    first = frames_in(radiologist.get(url, {"first": 0, "count": 8}).content)
    last = frames_in(radiologist.get(url, {"first": 8, "count": 8}).content)
    assert (len(first), len(last)) == (8, 3)
    for n, png in enumerate([*first, *last]):
        with Raster.open(io.BytesIO(png)) as frame:
            assert np.array_equal(np.asarray(frame), bmode_phantom(seed=n, size=(48, 64)))
    events = AuditEvent.objects.filter(action="image.frames_viewed").order_by("id")
    assert [e.detail for e in events] == [{"first": 0, "frames": 8}, {"first": 8, "frames": 3}]
    assert not AuditEvent.objects.filter(action="image.viewed").exists()
    # A second look is served from what was made, and is a look all the same.
    assert frames_in(radiologist.get(url, {"first": 8, "count": 8}).content) == last
    assert events.all().count() == 3


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"first": 11, "count": 1},
        {"first": 0, "count": 0},
        {"first": 0, "count": 17},
        {"first": "x", "count": 1},
        {"first": -1, "count": 1},
    ],
)
def test_frames_that_are_not_there_are_not_found(
    query: dict[str, Any], actor: Actor, radiologist: Client
) -> None:
    image = an_image(actor, cine_bytes())
    response = radiologist.get(reverse("image-frames", args=[image.pk]), query)
    assert response.status_code == 404
    assert not AuditEvent.objects.filter(action="image.frames_viewed").exists()


def test_frames_are_kept_from_other_sites_and_gone_with_the_patient(
    actor: Actor, radiologist: Client, sign_in: SignIn
) -> None:
    image = an_image(actor, cine_bytes(3))
    url, query = reverse("image-frames", args=[image.pk]), {"first": 0, "count": 3}
    assert sign_in(site=make_site()).get(url, query).status_code == 404
    assert sign_in(role="auditor", site=image.case.site).get(url, query).status_code == 403
    assert radiologist.get(url, query).status_code == 200
    erase(make_actor(roles=["admin"], site=image.case.site), image.case)
    assert radiologist.get(url, query).status_code == 410


def test_the_classes_of_the_heatmap_are_offered_with_what_they_do_not_show(
    world: World, sign_in: SignIn
) -> None:
    page = read(sign_in(world.sonographer).get(url_of(world.case)).content)
    chooser = page.one("select", class_="heat-class")
    options = [t for t in page.all("option") if "data-words" in t.attrs]
    assert [t.attrs["value"] for t in options] == ["malignant", "benign", "normal"]
    assert all("neither extent nor cause" in t.attrs["data-words"] for t in options)
    assert chooser.attrs["id"] in {t.attrs.get("for") for t in page.all("label")}
