"""The page of failed images."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from cases.models import Job
from tests.factories import make_actor
from tests.failing import failed_job
from tests.portal.conftest import SignIn, World
from tests.portal.markup import Markup, read

pytestmark = pytest.mark.django_db

URL = "/failed/"


@pytest.fixture
def admin(world: World, sign_in: SignIn) -> Client:
    return sign_in(role="admin", site=world.site)


def failed(world: World, **kwargs: str) -> Job:
    return failed_job(actor=make_actor(site=world.site), **kwargs)


def page(client: Client, query: str = "") -> Markup:
    response = client.get(URL + query)
    assert response.status_code == 200
    return read(response.content)


def rail(client: Client) -> str:
    return read(client.get(URL).content).one("nav", aria_label="Places").text


def test_an_empty_page_says_what_will_stand_here(admin: Client) -> None:
    assert "No failed images" in page(admin).text
    assert "Failed Models" in rail(admin)


def test_a_failed_image_stands_with_reason_worker_and_attempts(world: World, admin: Client) -> None:
    job = failed(world)
    shown = page(admin).text
    for words in ("It died.", "engine_crashed", "1 attempt", "test-worker"):
        assert words in shown
    assert reverse("case-detail", args=[job.image.case_id]) in admin.get(URL).content.decode()
    assert "Failed 1 Models" in rail(admin)


def test_no_patients_identity_is_on_the_page(world: World, admin: Client) -> None:
    failed_job(
        actor=make_actor(site=world.site), patient_id="SECRET-1", patient_name="Quokka^Zelda"
    )
    told = admin.get(URL).content.decode()
    assert "SECRET-1" not in told and "Quokka" not in told


def test_one_is_tried_again_by_its_button(world: World, admin: Client) -> None:
    jobs = [failed(world) for _ in range(2)]
    told = admin.post(f"{URL}retry/", {"only": str(jobs[0].pk), "query": ""}, follow=True)
    assert "1 image asked for again." in read(told.content).text
    assert [job.rerun_of_id for job in Job.objects.filter(state="PENDING")] == [jobs[0].pk]


def test_ticked_ones_and_all_shown_are_tried_again_and_twice_is_once(
    world: World, admin: Client
) -> None:
    jobs = [failed(world) for _ in range(3)]
    ids = [str(job.pk) for job in jobs]
    admin.post(f"{URL}retry/", {"job": ids[:2]})
    assert Job.objects.filter(state="PENDING").count() == 2
    # From a page that was drawn before.
    admin.post(f"{URL}retry/", {"shown": " ".join(ids)})
    assert Job.objects.filter(state="PENDING").count() == 3
    assert "No failed images" in page(admin).text


def test_nothing_ticked_is_told(world: World, admin: Client) -> None:
    failed(world)
    told = admin.post(f"{URL}retry/", {"query": "code=engine_crashed"}, follow=True)
    assert "Tick the images to try again." in read(told.content).text
    assert told.redirect_chain[0][0] == f"{URL}?code=engine_crashed"


def test_what_cannot_be_tried_again_says_why(world: World, admin: Client) -> None:
    told = admin.post(f"{URL}retry/", {"only": str(world.job.pk)}, follow=True)
    assert "1 image not: The job has not failed (succeeded)." in read(told.content).text


def test_the_page_is_filtered_by_error_and_time(world: World, admin: Client) -> None:
    failed(world, code="worker_lost", detail="Silent.")
    failed(world)
    shown = page(admin, "?code=worker_lost").text
    assert "Silent." in shown and "It died." not in shown
    assert "The worker was lost each time it tried (worker_lost)" in shown
    assert "Nothing found" in page(admin, "?since=2100-01-01T00:00").text
    wrong = admin.get(f"{URL}?since=soon")
    assert wrong.status_code == 422
    assert "Enter a date and a time" in read(wrong.content).text


def test_another_site_neither_sees_nor_retries(world: World, sign_in: SignIn) -> None:
    job = failed(world)
    stranger = sign_in(role="admin")
    assert "No failed images" in page(stranger).text
    stranger.post(f"{URL}retry/", {"only": str(job.pk)})
    assert not Job.objects.filter(rerun_of=job).exists()


@pytest.mark.parametrize("role", ["sonographer", "radiologist", "approver", "auditor"])
def test_other_roles_may_not(world: World, sign_in: SignIn, role: str) -> None:
    job = failed(world)
    client = sign_in(role=role, site=world.site)
    assert client.get(URL).status_code == 403
    assert client.post(f"{URL}retry/", {"only": str(job.pk)}).status_code == 403
    assert not Job.objects.filter(rerun_of=job).exists()
