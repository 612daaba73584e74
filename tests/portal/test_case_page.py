"""The case page: answers per image, live fragments, what is audited, what can be done."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from cases.access import Actor
from cases.models import AuditEvent, Case, Job
from cases.services.jobs import job_cancel
from cases.services.leases import engine_jobs_claim, job_fail
from cases.services.people import actor_for_user
from tests.factories import (
    WORKER,
    answer,
    make_site,
    phantom_jpeg,
    stored_result,
    submit,
)
from tests.phantoms import bmode_phantom, dicom_bytes
from tests.portal.conftest import SignIn, World, answer_images
from tests.portal.markup import read
from tests.portal.pages import cards, poll_url, url_of
from tests.told import tells

pytestmark = pytest.mark.django_db


def test_the_page_tells_patient_study_place_and_answer(actor: Actor, radiologist: Client) -> None:
    submission = submit(
        actor=actor,
        patient_id="P-1",
        patient_name="Doe^Jane",
        birth_date="1968-04-30",
        sex="F",
        accession_number="A-1",
        indication="recall",
        laterality="L",
        clock_position="2",
        quadrant="upper_outer",
        nipple_distance_mm="25",
    )
    stored_result(submission.jobs.get(), 0.88)
    text = read(radiologist.get(url_of(submission.case)).content).text
    for words in (
        "Case A-1",
        "Doe, Jane",
        "P-1",
        "30 Apr 1968",
        "Female",
        "Recall from screening",
        "Finding 1: Left, 2 o'clock, upper outer, 25 mm from the nipple",
        "Highest model score for malignant 0.88, in 1 of 1 images answered.",
        "The model scores this image above its malignant threshold.",
    ):
        assert words in text


def test_side_priority_and_the_way_to_read_are_told(actor: Actor, radiologist: Client) -> None:
    dicom = dicom_bytes(bmode_phantom(), image_laterality="L")
    submission = submit(actor=actor, files=[dicom], patient_id="", priority="stat")
    page = read(radiologist.get(url_of(submission.case)).content)
    assert "Side: left" in page.text
    assert "Side Left" in page.text
    assert "Priority: Stat" in page.one("div", class_="case-title").text
    (way,) = [tag for tag in page.all("a") if tag.text == "Write a reading"]
    assert page.one("form", id=way.attrs["href"].removeprefix("#"))
    report = read(radiologist.get(reverse("case-report", args=[submission.case_id])).content)
    assert "Priority Stat" in report.text
    assert "Side Left" in report.text


def test_each_image_has_its_own_card_and_its_own_sentence(
    actor: Actor, radiologist: Client
) -> None:
    submission = submit(actor=actor, files=[phantom_jpeg() for _ in range(3)])
    answer_images(
        submission,
        answer(0.88),
        answer(0.1),
        answer(0.3, outcome="abstained", reason="The scores lie too close together"),
    )
    page = read(radiologist.get(url_of(submission.case)).content)
    first, second, third = cards(page)
    assert "above its malignant threshold" in first
    assert "0.88" in first
    assert "its malignant score is below the threshold" in second
    assert "No answer: too uncertain The scores lie too close together." in third
    assert "This is not a negative answer." in third
    assert "0.3" not in third
    assert len(page.all("section", class_="image-row")) == 3
    assert "in 2 of 3 images answered" in page.text


def test_a_card_names_model_threshold_sensitivity_and_time(world: World, sign_in: SignIn) -> None:
    (card,) = cards(read(sign_in(world.sonographer).get(url_of(world.case)).content))
    assert "test-model" in card
    assert "0.40, set for a sensitivity of 95 % on validation data" in card
    assert "threshold 0.40" in card
    assert "What it cannot know" in card
    assert f"{world.result.created_at:%H:%M}" in card


def test_looking_at_a_case_is_audited_once_and_polls_are_not(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.sonographer)
    client.get(url_of(world.case))
    for _ in range(3):
        client.get(reverse("case-answers", args=[world.case.pk]))
    events = AuditEvent.objects.filter(action="case.viewed")
    assert [(e.user_id, e.case_id) for e in events] == [(world.sonographer.pk, world.case.pk)]


def test_the_first_read_of_an_answer_is_noted_for_each_person(
    world: World, sign_in: SignIn
) -> None:
    client = sign_in(world.sonographer)
    fragment = reverse("case-answers", args=[world.case.pk])
    page = read(client.get(url_of(world.case)).content)
    client.get(poll_url(page) or fragment)
    client.get(fragment)
    reads = AuditEvent.objects.filter(action="result.read")
    assert [(e.user_id, e.object_id) for e in reads] == [
        (world.sonographer.pk, str(world.result.pk))
    ]


def test_times_are_shown_with_their_zone(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.sonographer)
    page = read(client.get(url_of(world.case)).content)
    assert f"{world.case.created_at:%H:%M} UTC" in page.text
    assert "Times in UTC." in page.text
    assert "Received (UTC)" in read(client.get(reverse("worklist")).content).text
    history = read(client.get(reverse("case-audit", args=[world.case.pk])).content)
    assert "When (UTC)" in history.text


def test_a_refused_look_at_a_case_is_no_view(world: World, sign_in: SignIn) -> None:
    sign_in(site=make_site()).get(url_of(world.case))
    assert not AuditEvent.objects.filter(action="case.viewed").exists()


def test_an_unfinished_case_polls_until_the_answer_is_there(
    actor: Actor, radiologist: Client
) -> None:
    submission = submit(actor=actor)
    page = read(radiologist.get(url_of(submission.case)).content)
    assert "Waiting (next in line)" in page.text
    url = poll_url(page)
    assert url is not None
    assert radiologist.get(url).status_code == 204

    stored_result(submission.jobs.get(), 0.91)
    fragment = read(radiologist.get(url).content)
    assert "0.91" in fragment.one("article").text
    assert fragment.one("article").attrs["hx-swap-oob"] == "true"
    assert "Image 1: Above the malignant threshold." in fragment.one("p", id="case-news").text
    assert (
        "Highest model score for malignant 0.91, in 1 of 1 images answered"
        in fragment.one("p", id="case-summary").text
    )
    assert fragment.all("img", class_="heat")
    assert poll_url(fragment) is None


def test_a_finished_case_does_not_poll(world: World, sign_in: SignIn) -> None:
    page = read(sign_in(world.sonographer).get(url_of(world.case)).content)
    assert poll_url(page) is None
    assert not page.all("noscript")


def test_without_script_an_unfinished_page_refreshes_itself(
    actor: Actor, radiologist: Client
) -> None:
    page = read(radiologist.get(url_of(submit(actor=actor).case)).content)
    (refresh,) = page.all("meta", http_equiv="refresh")
    assert 0 < int(refresh.attrs["content"]) <= 30


def test_a_poll_brings_only_the_cards_that_changed(actor: Actor, radiologist: Client) -> None:
    submission = submit(actor=actor, files=[phantom_jpeg(), phantom_jpeg()])
    url = poll_url(read(radiologist.get(url_of(submission.case)).content))
    assert url is not None
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    fragment = read(radiologist.get(url).content)
    reading = [card for card in cards(fragment) if "Reading the image" in card]
    assert len(reading) == 1
    assert Job.objects.get(pk=claim.job_id).state == "RUNNING"
    assert poll_url(fragment) is not None


def test_images_that_arrive_later_are_announced_not_slipped_in(
    actor: Actor, radiologist: Client
) -> None:
    first = submit(actor=actor, patient_id="P-1", accession_number="A-1")
    url = poll_url(read(radiologist.get(url_of(first.case)).content))
    assert url is not None
    submit(actor=actor, patient_id="P-1", accession_number="A-1")
    engine_jobs_claim(actor=WORKER, limit=1)
    fragment = read(radiologist.get(url).content)
    assert "1 new image has arrived. Show it" in fragment.text


def test_a_waiting_image_tells_how_many_go_first_and_when_nobody_reads(
    actor: Actor, radiologist: Client
) -> None:
    submit(actor=actor, priority="stat")
    submission = submit(actor=actor)
    (card,) = cards(read(radiologist.get(url_of(submission.case)).content))
    assert "Waiting (1 ahead)" in card
    assert "No worker is running at the moment." in card


def test_a_failure_tells_its_reason_and_offers_to_run_again(
    actor: Actor, radiologist: Client
) -> None:
    submission = submit(actor=actor)
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    job_fail(
        actor=WORKER,
        job_id=claim.job_id,
        attempt=claim.attempt,
        code="engine_memory",
        detail="The engine ran out of memory.",
        transient=False,
    )
    page = read(radiologist.get(url_of(submission.case)).content)
    (card,) = cards(page)
    assert "Failed" in card
    assert "The engine ran out of memory. The image is stored." in card
    assert "Ask the live model again" in card
    again = page.one("form", action=reverse("job-rerun", args=[claim.job_id]))
    assert again.attrs["method"] == "post"


def test_a_waiting_job_is_cancelled_and_run_again(actor: Actor, radiologist: Client) -> None:
    submission = submit(actor=actor)
    job = submission.jobs.get()
    response = radiologist.post(reverse("job-cancel", args=[job.pk]), follow=True)
    assert "Cancelled. The image stays; you can run it again." in read(response.content).text
    job.refresh_from_db()
    assert job.state == "CANCELLED"
    response = radiologist.post(reverse("job-rerun", args=[job.pk]), follow=True)
    page = read(response.content)
    assert "Waiting" in page.text
    assert Job.objects.filter(rerun_of=job, state="PENDING").count() == 1


def test_cancelling_too_late_is_told_kindly_and_changes_nothing(
    world: World, sign_in: SignIn
) -> None:
    client = sign_in(world.sonographer)
    response = client.post(reverse("job-cancel", args=[world.job.pk]), follow=True)
    assert "has already ended" in read(response.content).text
    world.job.refresh_from_db()
    assert world.job.state == "SUCCEEDED"


def test_an_earlier_answer_stays_in_sight_while_a_rerun_waits(
    world: World, sign_in: SignIn
) -> None:
    client = sign_in(world.sonographer)
    response = client.post(reverse("job-rerun", args=[world.job.pk]), follow=True)
    (card,) = cards(read(response.content))
    assert "Waiting" in card
    assert "Earlier answer" in card
    assert "0.88" in card


def test_an_earlier_answer_stays_when_its_rerun_is_cancelled(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.sonographer)
    client.post(reverse("job-rerun", args=[world.job.pk]))
    again = Job.objects.get(rerun_of=world.job)
    job_cancel(actor=actor_for_user(world.sonographer), job_id=again.pk)
    (card,) = cards(read(client.get(url_of(world.case)).content))
    assert "The model's last run was cancelled before an answer" in card
    assert "0.88" in card


@pytest.fixture
def cine(actor: Actor) -> Case:
    frames = np.stack([bmode_phantom(seed=n, size=(120, 140)) for n in range(5)])
    submission = submit(actor=actor, files=[dicom_bytes(frames)], patient_id="")
    stored_result(submission.jobs.get(), 0.5)
    return submission.case


def test_a_cine_names_its_frame_from_one_and_reads_another_on_request(
    cine: Case, radiologist: Client
) -> None:
    job = Job.objects.get()
    page = read(radiologist.get(url_of(cine)).content)
    assert job.frame is not None
    assert f"frame {job.frame + 1} of 5" in page.text
    response = radiologist.post(reverse("job-rerun", args=[job.pk]), {"frame": "5"}, follow=True)
    again = Job.objects.get(rerun_of=job)
    assert again.frame == 4
    assert "frame 5 of 5" in read(response.content).text
    assert "frame=4" in response.content.decode()


@pytest.mark.parametrize("typed", ["0", "6", "-1", "x", "99999999999"])
def test_a_frame_that_is_not_there_is_told_and_nothing_starts(
    typed: str, cine: Case, radiologist: Client
) -> None:
    job = Job.objects.get()
    response = radiologist.post(reverse("job-rerun", args=[job.pk]), {"frame": typed}, follow=True)
    assert "Enter a frame from 1 to 5." in read(response.content).text
    assert Job.objects.count() == 1


def test_the_highest_frame_leads_and_the_others_stay_within_reach(
    cine: Case, radiologist: Client
) -> None:
    job = Job.objects.get()
    radiologist.post(reverse("job-rerun", args=[job.pk]), {"frame": "1"})
    stored_result(Job.objects.get(rerun_of=job), 0.9)
    page = read(radiologist.get(url_of(cine)).content)
    (card,) = cards(page)
    assert card.index("0.90") < card.index("malignant score 0.50")
    assert "Highest model score for malignant 0.90" in page.text
    looked_at = radiologist.get(url_of(cine), {"image": str(job.image_id), "frame": "3"})
    assert "/preview/?frame=2" in looked_at.content.decode()


def test_administrators_see_no_patient_and_no_file_names(world: World, sign_in: SignIn) -> None:
    html = sign_in(role="admin", site=world.site).get(url_of(world.case)).content.decode()
    for identity in ("Zebrafish", "Quilla", "SECRET-ID-77", world.image.file_name):
        assert identity not in html
    assert not tells(html, "1961")
    assert reverse("image-file", args=[world.image.pk]) not in html


def test_the_history_tells_who_did_what_in_words(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.sonographer)
    client.get(reverse("image-preview", args=[world.image.pk]))
    client.get(url_of(world.case))
    page = read(client.get(reverse("case-audit", args=[world.case.pk])).content)
    lines = [tag.text for tag in page.all("tr")]
    name = world.sonographer.username
    for who, what in (
        (name, "Looked at the case"),
        (name, "Looked at image 1"),
        ("The service", "Stored the result for image 1 (answered)"),
        (name, "Submitted 1 image"),
    ):
        assert any(who in line and what in line for line in lines), what
    assert "SECRET-ID-77" not in page.text
    assert "Zebrafish" not in page.text


def test_a_made_up_image_in_the_address_is_not_found(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.sonographer)
    assert client.get(url_of(world.case), {"image": "x", "frame": "1"}).status_code == 404
    elsewhere = {"image": str(uuid.uuid4()), "frame": "1"}
    assert client.get(url_of(world.case), elsewhere).status_code == 200


def test_the_number_of_queries_does_not_grow_with_the_images(
    actor: Actor, radiologist: Client, django_assert_max_num_queries: Any
) -> None:
    submission = submit(actor=actor, files=[phantom_jpeg() for _ in range(8)])
    with django_assert_max_num_queries(30):
        radiologist.get(url_of(submission.case))
