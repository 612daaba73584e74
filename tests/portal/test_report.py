"""The report of a case: the same words as a page and as a PDF, for those who may see the case."""

from __future__ import annotations

import io
import re
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse
from PIL import Image as Raster
from pypdf import PdfReader

from cases.access import Actor
from cases.models import AuditEvent, Case, Result
from cases.reports.case_pdf import UNPRINTABLE
from cases.reports.picture import report_picture
from cases.services.jobs import job_rerun
from cases.services.people import actor_for_user
from cases.services.readings import Place, reading_content_parse, reading_sign
from cases.services.withdrawals import result_withdraw
from tests.cases.erasing import erase
from tests.factories import (
    answer,
    make_actor,
    make_site,
    make_user,
    phantom_jpeg,
    stored_result,
    submit,
)
from tests.phantoms import bmode_phantom, dicom_bytes, png_bytes
from tests.portal.conftest import SignIn, World, answer_images
from tests.portal.markup import Markup, csp_faults, read, structure_faults
from tests.told import tells

pytestmark = pytest.mark.django_db


def pdf_of(client: Client, case: Case, **query: Any) -> PdfReader:
    response = client.get(reverse("case-report-pdf", args=[case.pk]), query)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/pdf"
    return PdfReader(io.BytesIO(response.content))


def words_of(pdf: PdfReader) -> str:
    return squeezed(" ".join(page.extract_text() for page in pdf.pages))


def squeezed(text: str) -> str:
    """Without white space: lines break elsewhere on paper."""
    return re.sub(r"\s+", "", text)


def page_of(client: Client, case: Case, **query: Any) -> Markup:
    return read(client.get(reverse("case-report", args=[case.pk]), query).content)


def signed(actor: Actor, case: Case, **content: str) -> None:
    reading_sign(
        actor=actor,
        case_id=case.pk,
        place=Place(),
        content=reading_content_parse(content),
        version=0,
    )


def test_page_and_pdf_carry_the_same_words(actor: Actor, sign_in: SignIn) -> None:
    reader = make_user(roles=["radiologist"], site=make_site())
    own = actor_for_user(reader)
    submission = submit(
        actor=own,
        files=[phantom_jpeg(), phantom_jpeg(), phantom_jpeg()],
        patient_id="P-1",
        patient_name="Nováková^Žofie",
        birth_date="1968-04-30",
        sex="F",
        accession_number="A-1",
        indication="post_treatment",
        laterality="L",
    )
    answer_images(
        submission,
        answer(0.88),
        answer(0.5, outcome="abstained", reason="The scores lie too close together"),
        answer(outcome="refused", reason="This is not a breast ultrasound"),
    )
    signed(own, submission.case, category="4B", label="malignant", text="Irregular <mass> & halo.")
    client = sign_in(reader)
    page, pdf = page_of(client, submission.case), pdf_of(client, submission.case)
    words = words_of(pdf)
    for told in (
        "Case A-1",
        "Nováková, Žofie",
        "30 Apr 1968",
        "After treatment",
        "Highest model score for malignant 0.88, in 1 of 3 images answered.",
        "The model scores this image above its malignant threshold.",
        "Threshold 0.40",
        "test-model",
        "set for a sensitivity of 95 % on validation data",
        "The scores lie too close together.",
        "This is not a breast ultrasound.",
        "This is not a negative answer. Read the image without the model.",
        "The breast was treated before.",
        "BI-RADS 4B: moderate suspicion",
        "Irregular <mass> & halo.",
        f"Signed by {reader.username}",
        "No answer of the model had been seen.",
        "Research software, not a medical device.",
        "What the model cannot know",
    ):
        assert told in page.text, told
        assert squeezed(told) in words, told
    assert squeezed(f"Page 1 of {len(pdf.pages)}") in words
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    assert sum(len(sheet.images) for sheet in pdf.pages) == 3


def test_a_usual_case_fits_on_one_page_and_its_file_names_nobody(
    world: World, sign_in: SignIn
) -> None:
    client = sign_in(world.sonographer)
    response = client.get(reverse("case-report-pdf", args=[world.case.pk]))
    pdf = PdfReader(io.BytesIO(response.content))
    assert len(pdf.pages) == 1
    assert "Zebrafish" in words_of(pdf)
    assert "Notreadyet:noreadingwassigned." in words_of(pdf)
    assert f'filename="case-{world.case.pk}.pdf"' in response.headers["Content-Disposition"]
    assert response.headers["Cache-Control"] == "no-store, private"
    assert pdf.metadata is not None
    assert "Zebrafish" not in str(pdf.metadata)


def test_administrators_get_a_report_without_the_patient(world: World, sign_in: SignIn) -> None:
    signed(make_actor(site=world.site), world.case, category="2", text="Zebrafish came again.")
    client = sign_in(role="admin", site=world.site)
    page, words = page_of(client, world.case).text, words_of(pdf_of(client, world.case))
    for told in (page, words):
        assert "Zebrafish" not in told and "SECRET-ID-77" not in told
        assert not tells(told, "1961") and "Feb1961" not in told
    assert squeezed("Text hidden: it may name the patient.") in words


def test_each_look_and_download_is_audited_and_reads_the_answer(
    world: World, sign_in: SignIn
) -> None:
    client = sign_in(world.sonographer)
    page_of(client, world.case)
    pdf_of(client, world.case, heatmap="1")
    pdf_of(client, world.case)
    events = AuditEvent.objects.filter(action__startswith="case.report_").order_by("id")
    assert [(e.action, e.detail) for e in events] == [
        ("case.report_viewed", {"images": 1, "heatmap": False}),
        ("case.report_downloaded", {"images": 1, "heatmap": True}),
        ("case.report_downloaded", {"images": 1, "heatmap": False}),
    ]
    assert {e.case_id for e in events} == {world.case.pk}
    assert AuditEvent.objects.filter(action="result.read").count() == 1


@pytest.mark.parametrize("name", ["case-report", "case-report-pdf"])
def test_the_report_opens_to_whom_the_case_does(name: str, world: World, sign_in: SignIn) -> None:
    url = reverse(name, args=[world.case.pk])
    assert Client().get(url).status_code == 302
    assert sign_in(site=make_site()).get(url).status_code == 404
    assert sign_in(role="auditor", site=world.site).get(url).status_code == 403
    assert sign_in(role="admin", site=world.site).get(url).status_code == 200
    erase(make_actor(roles=["admin"], site=world.site), world.case)
    assert sign_in(world.sonographer).get(url).status_code == 410


def test_the_heatmap_is_off_until_asked_for(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.sonographer)
    page = page_of(client, world.case)
    assert not page.all("img", class_="report-heat")
    assert "Coarse, for the malignant score" not in page.text
    page = page_of(client, world.case, heatmap="1")
    assert page.all("img", class_="report-heat")
    assert "shows neither extent nor cause" in page.text
    words = words_of(pdf_of(client, world.case, heatmap="1"))
    assert squeezed("It shows neither extent nor cause") in words


def test_a_picture_with_the_heatmap_differs_where_it_speaks(world: World) -> None:
    png = png_bytes(bmode_phantom(seed=3, size=(world.image.height, world.image.width)))
    result = Result.objects.select_related("image").get()
    with Raster.open(io.BytesIO(report_picture(png))) as plain:
        grey = np.asarray(plain.convert("RGB")).astype(int)
    with Raster.open(io.BytesIO(report_picture(png, result))) as drawn:
        heated = np.asarray(drawn).astype(int)
    assert grey.shape == heated.shape
    assert np.abs(heated - grey)[100, 100].max() > 20


def test_a_withdrawn_answer_says_so_on_paper(world: World, sign_in: SignIn) -> None:
    admin = make_actor(roles=["admin"], site=world.site)
    result_withdraw(actor=admin, result_id=world.result.pk, reason="Wrong preset.")
    client = sign_in(world.sonographer)
    words = words_of(pdf_of(client, world.case, heatmap="1"))
    assert squeezed("Wrong preset. Do not use this answer.") in words
    assert "Do not use this answer." in page_of(client, world.case).text


def test_a_cine_names_its_frame_and_the_others_in_a_line(actor: Actor, radiologist: Client) -> None:
    frames = np.stack([bmode_phantom(seed=n, size=(48, 64)) for n in range(5)])
    submission = submit(actor=actor, files=[dicom_bytes(frames)], patient_id="")
    job = submission.jobs.get()
    stored_result(job, 0.2)
    stored_result(job_rerun(actor=actor, job_id=job.pk, frame=4), 0.9)
    words = words_of(pdf_of(radiologist, submission.case))
    assert squeezed("Image 1, frame 5 of 5") in words
    assert squeezed(f"Frame {(job.frame or 0) + 1} of 5: malignant score 0.20.") in words


@pytest.mark.parametrize(
    ("name", "shown", "whole"),
    [
        ("Ιωάννου^Ελένη", "Ιωάννου,Ελένη", True),
        ("Иванова^Анна", "Иванова,Анна", True),
        ("山田^花子", "??,??", False),
    ],
)
def test_a_name_in_another_script_is_printed_or_said_not_to_be(
    name: str, shown: str, whole: bool, actor: Actor, radiologist: Client
) -> None:
    case = submit(actor=actor, patient_name=name).case
    words = words_of(pdf_of(radiologist, case))
    assert shown in words
    assert (squeezed(UNPRINTABLE) in words) is not whole


def test_many_images_make_more_pages_and_each_is_numbered(
    actor: Actor, radiologist: Client
) -> None:
    submission = submit(actor=actor, files=[phantom_jpeg() for _ in range(7)])
    pdf = pdf_of(radiologist, submission.case)
    assert len(pdf.pages) > 1
    for number, sheet in enumerate(pdf.pages, start=1):
        assert f"Page {number} of {len(pdf.pages)}" in sheet.extract_text()
        assert "Research software" in sheet.extract_text()
