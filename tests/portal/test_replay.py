"""The control on the case page that computes an answer again, and what it shows afterwards."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.urls import reverse

from cases.models import Job
from cases.services.leases import engine_jobs_claim, job_fail
from cases.services.people import actor_for_user
from cases.services.replays import replay_store
from cases.services.results import Answer
from tests.factories import WORKER, answer, stored_result, submit
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
    assert "Check that the result repeats" in card
    client, response = ask(world, sign_in)
    page = read(response.content)
    assert "The answer is being computed again. It stays as it is." in page.text
    (card,) = cards(page)
    assert "Computed again waiting for a worker" in card
    assert "Check that the result repeats" not in card
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
    assert "Check that the result repeats" in card


def test_a_difference_is_told_with_both_values(world: World, sign_in: SignIn) -> None:
    client, _ = ask(world, sign_in)
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    told = replace(answer(0.88), preprocessing="<b>other</b>")
    replay_store(actor=WORKER, job_id=claim.job_id, attempt=claim.attempt, answer=told)
    (card,) = cards(read(client.get(url_of(world.case)).content))
    assert "different. Preprocessing: stored test, now <b>other</b>. The stored answer" in card
    assert "tell whoever runs the service." in card
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


def finish(told: Answer) -> None:
    (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
    assert replay_store(actor=WORKER, job_id=claim.job_id, attempt=claim.attempt, answer=told)


def test_a_replay_under_way_is_said_to_be(world: World, sign_in: SignIn) -> None:
    client, _ = ask(world, sign_in)
    assert engine_jobs_claim(actor=WORKER, limit=1)
    (card,) = cards(read(client.get(url_of(world.case)).content))
    assert "Computed again being computed now" in card
    assert "waiting for a worker" not in card


def test_scores_that_differ_are_told_with_three_digits_or_as_many_as_it_takes(
    world: World, sign_in: SignIn
) -> None:
    client, _ = ask(world, sign_in)
    finish(answer(0.88004))
    (card,) = cards(read(client.get(url_of(world.case)).content))
    assert "Score for malignant: stored 0.88000, now 0.88004" in card
    assert "Label" not in card


@pytest.mark.parametrize("outcome", ["abstained", "refused"])
def test_no_score_comes_to_light_where_the_answer_shows_none(
    outcome: str, world: World, sign_in: SignIn
) -> None:
    hidden = stored_result(
        submit(actor=actor_for_user(world.sonographer)).jobs.get(),
        0.45,
        outcome=outcome,
        reason="It is too uncertain.",
    )
    client = sign_in(world.sonographer)
    client.post(reverse("result-replay", args=[hidden.pk]))
    finish(answer(0.1))
    (card,) = cards(read(client.get(url_of(hidden.image.case)).content))
    assert f"different. Outcome: stored {outcome}, now answered" in card
    for word in ("0.45", "0.1", "Score for", "Label"):
        assert word not in card
    if outcome == "refused":
        assert "Size of the heatmap: stored none, now 3 × 7 × 7" in card


def test_scores_of_an_abstention_that_differ_are_not_named(world: World, sign_in: SignIn) -> None:
    case_job = submit(actor=actor_for_user(world.sonographer)).jobs.get()
    hidden = stored_result(case_job, 0.45, outcome="abstained", reason="Too uncertain.")
    client = sign_in(world.sonographer)
    client.post(reverse("result-replay", args=[hidden.pk]))
    finish(answer(0.1, outcome="abstained", reason="Too uncertain."))
    (card,) = cards(read(client.get(url_of(hidden.image.case)).content))
    assert "different. The scores behind it came out otherwise. The stored answer stands" in card
    for word in ("0.45", "0.1", "malignant", "benign"):
        assert word not in card.partition("Computed again")[2].partition("What it cannot")[0]


@pytest.mark.parametrize(("score", "words"), [(0.88, "equal"), (0.3, "different")])
def test_what_is_read_aloud_is_the_finding_and_not_the_old_answer(
    score: float, words: str, world: World, sign_in: SignIn
) -> None:
    client, response = ask(world, sign_in)
    poll = poll_url(read(response.content))
    assert engine_jobs_claim(actor=WORKER, limit=1)
    running = read(client.get(poll).content)
    assert running.all("p", id="case-news") == []
    Job.objects.filter(kind="replay").update(state="PENDING", lease_expires_at=None)
    finish(answer(score))
    news = read(client.get(poll).content).one("p", id="case-news").text
    assert news == f"Image 1: computed again, {words}."


def test_a_new_reading_is_read_aloud_as_an_answer(world: World, sign_in: SignIn) -> None:
    client, _ = ask(world, sign_in)
    finish(answer(0.88))
    client.post(reverse("job-rerun", args=[world.job.pk]))
    poll = poll_url(read(client.get(url_of(world.case)).content))
    stored_result(Job.objects.get(rerun_of=world.job), 0.1)
    news = read(client.get(poll).content).one("p", id="case-news").text
    assert "computed again" not in news
    assert news.startswith("Image 1: ")


def test_a_site_that_asked_for_too_many_is_told_so(
    world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cases.services.replays.MAX_ACTIVE", 0)
    _, response = ask(world, sign_in)
    assert "Ask again once some are done." in read(response.content).text
