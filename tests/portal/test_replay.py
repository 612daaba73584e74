"""The control on the case page that computes an answer again, and what it shows afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.urls import reverse

from cases.models import Job
from cases.services.leases import engine_jobs_claim, job_fail
from cases.services.replays import replay_store
from tests.factories import WORKER, answer
from tests.portal.conftest import SignIn, World
from tests.portal.markup import read
from tests.portal.pages import cards, poll_url, url_of

pytestmark = pytest.mark.django_db


def ask(world: World, sign_in: SignIn):
    client = sign_in(world.sonographer)
    response = client.post(reverse("result-replay", args=[world.result.pk]), follow=True)
    assert response.status_code == 200
    return client, response


def test_an_answer_is_computed_again_and_the_card_says_equal(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.sonographer)
    (card,) = cards(read(client.get(url_of(world.case)).content))
    assert "Compute again and compare" in card
    client, response = ask(world, sign_in)
    page = read(response.content)
    assert "The answer is being computed again. It stays as it is." in page.text
    (card,) = cards(page)
    assert "Computed again waiting for a worker" in card
    assert "Compute again and compare" not in card
    # The page follows it although the image itself has its answer.
    poll = poll_url(page)
    assert client.get(poll).status_code == 204
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    replay_store(actor=WORKER, job_id=claim.job_id, attempt=claim.attempt, answer=answer(0.88))
    fragment = client.get(poll)
    assert fragment.status_code == 200
    (card,) = cards(read(fragment.content))
    assert ": equal" in card
    assert "0.88" in card
    assert "Compute again and compare" in card


def test_a_difference_is_told_with_both_values(world: World, sign_in: SignIn) -> None:
    client, _ = ask(world, sign_in)
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    told = replace(answer(0.88), preprocessing="<b>other</b>")
    replay_store(actor=WORKER, job_id=claim.job_id, attempt=claim.attempt, answer=told)
    (card,) = cards(read(client.get(url_of(world.case)).content))
    assert "different (Preprocessing stored test, now <b>other</b>)" in card
    history = read(client.get(reverse("case-audit", args=[world.case.pk])).content).text.lower()
    assert "asked to compute the answer for image 1 again" in history
    assert "computed the answer for image 1 again (different)" in history


def test_a_replay_that_failed_says_why_and_the_answer_stays(world: World, sign_in: SignIn) -> None:
    client, _ = ask(world, sign_in)
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    job_fail(
        actor=WORKER,
        job_id=claim.job_id,
        attempt=claim.attempt,
        code="storage_damaged",
        detail="The stored image is missing or damaged.",
        transient=False,
    )
    (card,) = cards(read(client.get(url_of(world.case)).content))
    assert "not possible: The stored image is missing or damaged." in card
    assert "above its malignant threshold" in card


def test_asking_twice_makes_one_job(world: World, sign_in: SignIn) -> None:
    ask(world, sign_in)
    ask(world, sign_in)
    assert Job.objects.filter(kind="replay").count() == 1
