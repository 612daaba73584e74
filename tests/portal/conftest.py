"""Things most portal tests start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from django.test import Client

from cases.access import Actor
from cases.models import Case, Image, Job, Result, Site, Submission, User
from cases.services.leases import engine_jobs_claim
from cases.services.people import actor_for_user
from cases.services.results import Answer, result_store
from tests.factories import WORKER, live_model, make_site, make_user, stored_result, submit

ROLES = ("sonographer", "radiologist", "admin", "approver", "auditor", "integration")

SignIn = Callable[..., Client]


@pytest.fixture
def sign_in() -> SignIn:
    """A browser of a user; of a new user with `role` where none is given."""

    def signed_in(
        user: User | None = None, *, role: str = "radiologist", site: Site | None = None
    ) -> Client:
        client = Client()
        client.force_login(user or make_user(roles=[role], site=site))
        return client

    return signed_in


@pytest.fixture
def actor() -> Actor:
    return actor_for_user(make_user(roles=["sonographer"]))


@pytest.fixture
def radiologist(actor: Actor, sign_in: SignIn) -> Client:
    return sign_in(site=Site.objects.get(pk=actor.own_site))


@dataclass(frozen=True)
class World:
    """One answered case with its patient, at a site."""

    site: Site
    sonographer: User
    case: Case
    image: Image
    job: Job
    result: Result


@pytest.fixture
def world(db: None) -> World:
    live_model()
    site = make_site()
    sonographer = make_user(roles=["sonographer"], site=site)
    submission = submit(
        actor=actor_for_user(sonographer),
        patient_id="SECRET-ID-77",
        patient_name="Zebrafish^Quilla",
        birth_date="1961-02-03",
        accession_number="ACC-0815",
    )
    job = submission.jobs.get()
    result = stored_result(job, 0.88)
    image = submission.images.get()
    return World(site, sonographer, submission.case, image, job, result)


def answer_images(submission: Submission, *answers: Answer) -> None:
    """Store an answer for each image of ``submission``, in the sender's order."""
    images = submission.images.order_by("position").values_list("pk", flat=True)
    by_image = dict(zip(images, answers, strict=True))
    for claim in engine_jobs_claim(actor=WORKER, limit=100):
        result_store(
            actor=WORKER,
            job_id=claim.job_id,
            attempt=claim.attempt,
            answer=by_image.pop(claim.image_id),
        )
    assert not by_image, "some images were not waiting"
