"""Promotion, rollback, the switch and the lists, as people do them at the portal."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from cases.models import (
    ModelVersion,
    PromotionRequest,
    User,
)
from cases.selectors.shadow import shadow_disagreements, shadow_summary
from cases.services.erasure import erasure_plan, patient_erase
from cases.services.leases import engine_jobs_claim
from cases.services.people import actor_for_user
from cases.services.serving import serving_suspend
from cases.services.shadow_results import shadow_result_store
from cases.services.withdrawals import result_withdraw
from cases.states import ModelState
from tests.cases.governing import admin, asked, candidate, damage, live_id, promoted
from tests.factories import (
    WORKER,
    answer,
    live_model,
    make_user,
    stored_result,
    submit,
)
from tests.portal.conftest import ROLES, SignIn, World
from tests.portal.markup import csp_faults, read, structure_faults, text_of
from tests.training import make_run, trained

pytestmark = pytest.mark.django_db

VIEWERS = {"sonographer", "radiologist", "admin", "approver", "integration"}
CASES = VIEWERS - {"approver"}
GOVERN = {"admin", "approver"}


def page_of(model: ModelVersion) -> str:
    return reverse("model-detail", args=[model.pk])


def decide(client: Client, request: PromotionRequest, what: str, **typed: str) -> Any:
    """Press a button of the request's page, with what that page holds."""
    page = read(client.get(reverse("promotion-detail", args=[request.pk])).content)
    held = page.values()
    given = {"reason": "I looked at it.", "expected_active": held.get("expected_active", "")}
    return client.post(reverse(f"promotion-{what}", args=[request.pk]), given | typed)


def test_from_candidate_to_live_by_two_people_and_back_by_one(sign_in: SignIn) -> None:
    old, model = live_model(), candidate()
    submit()
    one, two = sign_in(role="admin"), sign_in(role="approver")
    assert "Ask for promotion" in text_of(one.get(page_of(model)))
    given = {"target": "ACTIVE", "reason": "Fewer missed on our devices."}
    one.post(reverse("promotion-request", args=[model.pk]), given)
    request = PromotionRequest.objects.get()
    assert "Waiting for a second person" in text_of(two.get(reverse("model-list")))
    shown = text_of(two.get(reverse("promotion-detail", args=[request.pk])))
    for words in ("Fewer missed on our devices.", old.version, "1 image", "Passed", "is retired"):
        assert words in shown
    answer = decide(two, request, "approve")
    assert answer.status_code == 302
    assert live_id() == model.pk
    assert "I looked at it." in text_of(two.get(page_of(model)))
    # Back, from the page of the model before.
    page = text_of(two.get(page_of(old)))
    assert "Roll back to this model" in page
    held = read(two.get(page_of(old)).content).values()
    given = {"reason": "Odd heatmaps.", "expected_active": held["expected_active"]}
    assert two.post(reverse("model-roll-back", args=[old.pk]), given).status_code == 302
    assert live_id() == old.pk


def test_who_asked_sees_no_button_to_approve_and_cannot_press_one(sign_in: SignIn) -> None:
    live_model()
    both = make_user(roles=["admin", "approver"])
    request = asked(candidate(), by=actor_for_user(both))
    client = sign_in(both)
    url = reverse("promotion-detail", args=[request.pk])
    assert "You asked for this, so another person decides." in text_of(client.get(url))
    assert decide(client, request, "approve").status_code == 403
    assert decide(client, request, "withdraw").status_code == 302
    request.refresh_from_db()
    assert request.decision == "withdrawn"


def test_who_ordered_the_training_may_decline_and_sees_no_button_to_approve(
    sign_in: SignIn,
) -> None:
    live_model()
    both = make_user(roles=["admin", "approver"])
    model = trained(make_run(actor=actor_for_user(both)))
    request = asked(model, ModelState.SHADOW)
    client = sign_in(both)
    page = read(client.get(reverse("promotion-detail", args=[request.pk])).content)
    assert "You ordered the training of this model" in page.text
    actions = {form.attrs["action"] for form in page.all("form") if "action" in form.attrs}
    assert reverse("promotion-decline", args=[request.pk]) in actions
    assert reverse("promotion-approve", args=[request.pk]) not in actions
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    given = {"reason": "x", "expected_active": str(live_id())}
    refused = client.post(reverse("promotion-approve", args=[request.pk]), given)
    assert refused.status_code == 403
    model.refresh_from_db()
    assert model.state == "CANDIDATE"
    assert decide(client, request, "decline").status_code == 302


def test_the_live_model_changed_meanwhile_and_the_page_shows_the_new_state(
    sign_in: SignIn,
) -> None:
    shown = live_model()
    request, other = asked(candidate()), candidate()
    client = sign_in(role="approver")
    promoted(other)
    response = decide(client, request, "approve", expected_active=str(shown.pk))
    assert response.status_code == 409
    text = text_of(response)
    assert f"{other.version} is live now" in text
    assert "Nothing was changed" in text
    page = read(response.content)
    assert page.one("input", id="approve-reason").attrs["value"] == "I looked at it."
    # What stands on the page now is the new state: pressing again goes through.
    given = {"reason": "Still yes.", "expected_active": page.values()["expected_active"]}
    url = reverse("promotion-approve", args=[request.pk])
    assert client.post(url, given).status_code == 302
    assert live_id() == request.model_version_id


def test_a_reason_is_asked_for_where_it_is_missing(sign_in: SignIn) -> None:
    live_model()
    request = asked(candidate())
    response = decide(sign_in(role="approver"), request, "decline", reason=" ")
    page = read(response.content)
    assert response.status_code == 422
    assert page.one("p", id="decline-error").text.strip() == "Say why."
    assert "aria-invalid" in page.one("input", id="decline-reason").attrs
    assert "aria-invalid" not in page.one("input", id="approve-reason").attrs


@pytest.mark.parametrize("verdict", ["failed", "insufficient_evidence", None])
def test_a_page_says_why_a_model_cannot_be_promoted(verdict: str | None, sign_in: SignIn) -> None:
    live_model()
    model = candidate(verdict, origin="import")
    client = sign_in(role="admin")
    text = text_of(client.get(page_of(model)))
    assert "cannot" in text
    assert ("Ask for promotion" in text) is (verdict is None)
    url = reverse("promotion-request", args=[model.pk])
    response = client.post(url, {"target": "ACTIVE", "reason": "please"})
    assert response.status_code == 409
    assert not PromotionRequest.objects.exists()


def test_a_model_that_refuses_nothing_says_so_where_it_is_decided(sign_in: SignIn) -> None:
    live_model()
    model = candidate()
    urls = [page_of(model), reverse("promotion-detail", args=[asked(model).pk])]
    client = sign_in(role="approver")
    warning = "This model has no check that refuses what is no breast ultrasound"
    for url in urls:
        page = read(client.get(url).content)
        assert warning in page.text
        assert (csp_faults(page), structure_faults(page)) == ([], [])
    checked = {**model.card, "refusal": {"format": 1}}
    ModelVersion.objects.filter(pk=model.pk).update(card=checked)
    for url in urls:
        assert warning not in text_of(client.get(url))


def test_a_damaged_file_is_told_on_the_request_and_on_the_models_page(sign_in: SignIn) -> None:
    live = live_model()
    model = candidate()
    request = asked(model)
    damage(model)
    client = sign_in(role="approver")
    response = decide(client, request, "approve")
    assert response.status_code == 409
    assert "not the one its SHA-256 names" in text_of(response)
    assert "the live model keeps answering" in text_of(client.get(page_of(model)))
    assert live_id() == live.pk


def cancel_links(client: Client) -> list[str]:
    page = read(client.get(reverse("serving")).content)
    return [tag.attrs["href"] for tag in page.all("a") if tag.text.strip() == "Cancel"]


def test_the_switch_is_worked_with_a_reason_and_every_page_says_why(
    world: World, sign_in: SignIn
) -> None:
    client, reader = sign_in(role="admin"), sign_in(world.sonographer)
    submit(actor=actor_for_user(world.sonographer))
    page = text_of(client.get(reverse("serving")))
    assert "1 image" in page
    assert "This holds for all sites." in page
    assert cancel_links(client) == [reverse("model-list")]
    assert cancel_links(reader) == []
    told = text_of(reader.get(reverse("serving")))
    assert "While answers are suspended, new images are still taken in" in told
    assert "Only administrators and approvers can suspend answers." in told
    assert client.post(reverse("serving-suspend"), {"reason": ""}).status_code == 422
    assert client.post(reverse("serving-suspend"), {"reason": "Odd."}).status_code == 302
    assert client.post(reverse("serving-suspend"), {"reason": "Odd."}).status_code == 409
    for url in (reverse("worklist"), reverse("case-detail", args=[world.case.pk])):
        assert "Answers have been suspended since" in read(reader.get(url).content).text
    assert "Only administrators and approvers can resume answers." in text_of(
        reader.get(reverse("serving"))
    )
    assert reader.post(reverse("serving-resume"), {"reason": "x"}).status_code == 403
    assert client.post(reverse("serving-resume"), {"reason": "Fine."}).status_code == 302
    page = text_of(client.get(reverse("serving")))
    assert "Answers are on" in page
    assert "Fine." in page
    assert "suspended since" not in read(reader.get(reverse("worklist")).content).text


def test_which_model_was_live_is_answered_in_a_form(sign_in: SignIn) -> None:
    old = live_model()
    new = promoted(candidate())
    serving_suspend(actor=admin(), reason="Odd.")
    client = sign_in(role="approver")
    url = reverse("model-live")
    assert {old.version, new.version} <= set(read(client.get(url).content).text.split())
    text = text_of(client.get(url, {"at": "2099-01-01T10:00"}))
    assert f"{new.version} was live, since" in text
    assert "Answers were suspended then" in text
    assert "No model was live." in text_of(client.get(url, {"at": "1999-01-01T10:00"}))
    for odd in ("yesterday", "9999-99-99T00:00", "\x00"):
        assert client.get(url, {"at": odd}).status_code == 422


def test_a_withdrawn_answer_is_nothing_to_measure_a_shadow_by(
    world: World, sign_in: SignIn
) -> None:
    model = promoted(candidate(), ModelState.SHADOW)
    actor = actor_for_user(world.sonographer)
    results = [stored_result(submit(actor=actor).jobs.get(), 0.8) for _ in range(3)]
    for _ in results:
        (claim,) = engine_jobs_claim(actor=WORKER, limit=1)
        said = {"actor": WORKER, "job_id": claim.job_id, "attempt": claim.attempt}
        assert shadow_result_store(**said, answer=answer(0.2))
    governor = admin(world.site)
    client = sign_in(role="approver", site=world.site)
    url = reverse("model-shadow", args=[model.pk])
    assert "3 of 3 answers differ" in text_of(client.get(url))
    result_withdraw(actor=governor, result_id=results[0].pk, reason="Wrong probe.")
    gone = results[1].image.case
    plan = erasure_plan(actor=governor, case_id=gone.pk)
    patient_erase(actor=governor, case_id=gone.pk, reason="Asked.", token=plan.token)
    summary = shadow_summary(actor=governor, model=model)
    assert (summary.n, summary.changed, summary.withdrawn) == (2, 2, 1)
    assert [change.count for change in summary.changes] == [2]
    rows = shadow_disagreements(actor=governor, model=model)
    assert {row.result_id for row in rows} == {results[1].pk, results[2].pk}
    page = read(client.get(url).content)
    assert "Left out, the live model's answer was withdrawn 1" in page.text
    assert page.text.count("patient erased") == 1
    assert (csp_faults(page), structure_faults(page)) == ([], [])


def pages(world: World, model: ModelVersion, request: PromotionRequest) -> dict[str, set[str]]:
    return {
        reverse("model-live"): VIEWERS,
        reverse("serving"): VIEWERS,
        reverse("promotion-detail", args=[request.pk]): VIEWERS,
        reverse("model-recall", args=[world.result.model_version_id]): CASES,
        reverse("model-recall-csv", args=[world.result.model_version_id]): CASES,
        reverse("model-shadow", args=[model.pk]): GOVERN,
    }


def test_pages_open_for_the_roles_they_are_for_and_keep_to_the_policy(
    world: World, sign_in: SignIn
) -> None:
    model = promoted(candidate(), ModelState.SHADOW)
    stored_result(submit(actor=actor_for_user(world.sonographer)).jobs.get())
    request = asked(model)
    serving_suspend(actor=admin(), reason="<b>Odd</b>")
    for url, allowed in pages(world, model, request).items():
        for role in ROLES:
            response = sign_in(role=role, site=world.site).get(url)
            assert (url, role, response.status_code) == (url, role, 200 if role in allowed else 403)
            if not response.streaming:
                page = read(response.content)
                assert (url, csp_faults(page), structure_faults(page)) == (url, [], [])
                assert b"<b>Odd</b>" not in response.content
        assert Client().get(url).status_code == 302


def test_acts_are_for_the_roles_they_are_for_and_need_a_csrf_token(sign_in: SignIn) -> None:
    live_model()
    model = candidate()
    request = asked(candidate())
    acts = {
        reverse("promotion-request", args=[model.pk]): GOVERN,
        reverse("model-roll-back", args=[model.pk]): {"approver"},
        reverse("model-reject", args=[model.pk]): {"approver"},
        reverse("promotion-approve", args=[request.pk]): {"approver"},
        reverse("promotion-decline", args=[request.pk]): {"approver"},
        reverse("promotion-withdraw", args=[request.pk]): GOVERN,
        reverse("serving-suspend"): GOVERN,
        reverse("serving-resume"): GOVERN,
    }
    for url, allowed in acts.items():
        for role in ROLES:
            # Without a reason, so that nothing happens where it is allowed.
            status = sign_in(role=role).post(url).status_code
            refused = {403} if role not in allowed else {409, 422}
            assert (url, role, status in refused) == (url, role, True)
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(User.objects.filter(role_rows__role="approver").first())
        assert strict.post(url, {"reason": "x"}).status_code == 403
        assert Client().post(url, {"reason": "x"}).status_code == 302
        assert Client().get(url).status_code in (302, 405)
    assert ModelVersion.objects.filter(state="CANDIDATE").count() == 2


def test_what_is_not_there_is_not_found(sign_in: SignIn) -> None:
    client = sign_in(make_user(roles=["admin", "approver"]))
    for name in ("model-recall", "model-shadow", "promotion-detail"):
        assert client.get(reverse(name, args=[uuid.uuid4()])).status_code == 404
    for name in ("promotion-approve", "model-roll-back", "model-reject", "promotion-request"):
        given = {"reason": "x", "target": "ACTIVE", "expected_active": ""}
        assert client.post(reverse(name, args=[uuid.uuid4()]), given).status_code == 404
