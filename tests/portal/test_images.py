"""Previews, original files, heatmaps and files sent twice."""

from __future__ import annotations

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from cases.access import Actor
from cases.models import AuditEvent, Job
from cases.services.fields import submission_fields_parse
from cases.services.submission import submission_create
from tests.factories import live_model, phantom_jpeg, stored_result, submit, upload
from tests.phantoms import bmode_phantom, dicom_bytes
from tests.portal.conftest import SignIn, World
from tests.portal.markup import read
from tests.portal.pages import cards, url_of

pytestmark = pytest.mark.django_db


def test_a_preview_is_a_picture_and_a_view(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.sonographer)
    response = client.get(reverse("image-preview", args=[world.image.pk]))
    assert response.headers["Content-Type"] == "image/png"
    assert response.content.startswith(b"\x89PNG")
    assert AuditEvent.objects.filter(action="image.viewed").count() == 1
    for frame in ("1", "-1", "x"):
        url = reverse("image-preview", args=[world.image.pk])
        assert client.get(url, {"frame": frame}).status_code == 404


def test_the_original_file_comes_back_as_it_was_sent_under_its_name(
    actor: Actor, radiologist: Client
) -> None:
    live_model()
    data = phantom_jpeg()
    sent = upload(data, 'na"me ü.jpg')
    with sent.received:
        fields = submission_fields_parse({"patient_id": "P"})
        submission = submission_create(actor=actor, fields=fields, uploads=[sent])
    image = submission.images.get()
    response = radiologist.get(reverse("image-file", args=[image.pk]))
    assert response.getvalue() == data
    assert response.headers["Content-Disposition"].startswith("attachment;")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert AuditEvent.objects.filter(action="image.downloaded").count() == 1


def test_a_heatmap_is_off_at_first_and_says_what_it_does_not_show(
    world: World, sign_in: SignIn
) -> None:
    client = sign_in(world.sonographer)
    page = read(client.get(url_of(world.case)).content)
    toggle = page.one("input", class_="heat-toggle")
    assert "checked" not in toggle.attrs
    words = page.one("p", id=toggle.attrs["aria-describedby"]).text
    assert "neither extent nor cause" in words
    picture = client.get(page.one("img", class_="heat").attrs["src"])
    assert picture.content.startswith(b"\x89PNG")
    url = reverse("result-heatmap", args=[world.result.pk])
    assert client.get(url, {"class": "benign"}).status_code == 200
    assert client.get(url, {"class": "<script>"}).status_code == 404


def test_a_refused_image_has_no_heatmap(actor: Actor, radiologist: Client) -> None:
    submission = submit(actor=actor)
    result = stored_result(submission.jobs.get(), outcome="refused", reason="Not a breast.")
    page = read(radiologist.get(url_of(submission.case)).content)
    assert not page.all("img", class_="heat")
    assert radiologist.get(reverse("result-heatmap", args=[result.pk])).status_code == 404


def test_the_same_file_again_is_marked(actor: Actor, radiologist: Client) -> None:
    data = phantom_jpeg()
    submit(actor=actor, files=[data], patient_id="P-1", accession_number="A-1")
    again = submit(actor=actor, files=[data], patient_id="P-1", accession_number="A-1")
    elsewhere = submit(actor=actor, files=[data], patient_id="P-1", accession_number="A-2")
    text = read(radiologist.get(url_of(again.case)).content).text
    assert "Same file as image 1." in text
    text = read(radiologist.get(url_of(elsewhere.case)).content).text
    assert "Same file as one sent before for this patient." in text


def test_a_frame_without_an_answer_leads_before_one_below_the_threshold(
    actor: Actor, radiologist: Client
) -> None:
    frames = np.stack([bmode_phantom(seed=n, size=(120, 140)) for n in range(3)])
    submission = submit(actor=actor, files=[dicom_bytes(frames)], patient_id="")
    job = submission.jobs.get()
    stored_result(job, 0.05)
    radiologist.post(reverse("job-rerun", args=[job.pk]), {"frame": "1"})
    again = Job.objects.get(rerun_of=job)
    stored_result(again, 0.05, outcome="abstained", reason="The scores lie too close together")
    (card,) = cards(read(radiologist.get(url_of(submission.case)).content))
    assert "The scores lie too close together." in card
    assert card.index("This is not a negative answer.") < card.index("below the threshold")
