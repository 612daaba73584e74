"""Models, training runs and the audit trail over HTTP."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from cases.access import SYSTEM
from cases.models import AuditEvent, ModelEvent, ModelVersion, Site
from cases.services.learning import shipped_model_install
from tests.api.contract import Api, problem
from tests.factories import live_model, make_actor, make_token, submit

pytestmark = pytest.mark.django_db


def newer_model() -> ModelVersion:
    weights = b"another network"
    card: dict[str, Any] = {
        **live_model().card,
        "version": "newer-model",
        "weights": {"sha256": hashlib.sha256(weights).hexdigest()},
    }
    model, _ = shipped_model_install(actor=SYSTEM, weights=weights, card=card)
    return model


def test_the_list_shows_models_without_their_cards(api: Api) -> None:
    model = live_model()
    body = api.get("/models/").json()
    assert [item["id"] for item in body["results"]] == [str(model.pk)]
    item = body["results"][0]
    assert (item["version"], item["state"], item["sha256"]) == (
        model.version,
        "ACTIVE",
        model.sha256,
    )
    assert "card" not in item
    assert api.get(item["url"]).json()["card"] == model.card


def test_the_live_model_is_told_for_any_moment(api: Api) -> None:
    first = live_model()
    between = ModelEvent.objects.latest("id").at
    second = newer_model()
    assert api.get("/models/live/").json()["id"] == str(second.pk)
    assert api.get("/models/live/", {"at": between.isoformat()}).json()["id"] == str(first.pk)
    later = (timezone.now() + timedelta(days=1)).isoformat()
    assert api.get("/models/live/", {"at": later}).json()["id"] == str(second.pk)
    earlier = (between - timedelta(days=1)).isoformat()
    problem(api.get("/models/live/", {"at": earlier}), 404, "not_found")


@pytest.mark.parametrize("at", ["2126-03-01T08:30:00Z", "2126-03-01T08:30:00+01:00"])
def test_a_moment_needs_its_zone(api: Api, at: str) -> None:
    assert api.get("/models/live/", {"at": at}).status_code == 200
    # As curl sends it when the plus sign is not encoded.
    assert api.get(f"/models/live/?at={at}").status_code == 200


@pytest.mark.parametrize(
    "at", ["2126-03-01T08:30:00", "yesterday", "2126-03-01", "9999-99-99T00:00:00Z", "\x00"]
)
def test_a_moment_without_zone_or_sense_is_a_field_error(api: Api, at: str) -> None:
    body = problem(api.get("/models/live/", {"at": at}), 422, "field_invalid")
    assert list(body["errors"]) == ["at"]


# Audit


@pytest.fixture
def auditor(site: Site) -> Api:
    return Api(make_token(site=site, roles=["auditor"], scopes=["read"])[1])


def test_the_trail_tells_who_did_what_last_written_first(auditor: Api, site: Site) -> None:
    actor = make_actor(site=site)
    submission = submit(actor=actor, patient_id="SECRET-7")
    body = auditor.get("/audit/").json()
    ids = [event["id"] for event in body["results"]]
    assert ids == sorted(ids, reverse=True)
    event = next(e for e in body["results"] if e["action"] == "submission.created")
    stored = AuditEvent.objects.get(action="submission.created")
    assert event == {
        "id": stored.pk,
        "at": stored.at.isoformat().replace("+00:00", "Z"),
        "actor_kind": "user",
        "actor_label": actor.label,
        "user_id": str(actor.user_id),
        "token_id": None,
        "action": "submission.created",
        "object_type": "submission",
        "object_id": str(submission.pk),
        "site_id": str(site.pk),
        "case_id": str(submission.case_id),
        "request_id": "",
        "changed_fields": stored.changed_fields,
        "detail": stored.detail,
    }
    assert "SECRET-7" not in str(body)


def test_the_trail_of_another_site_is_not_shown(auditor: Api) -> None:
    submission = submit()
    assert auditor.get("/audit/", {"object_id": str(submission.pk)}).json()["results"] == []


def test_the_trail_is_filtered(auditor: Api, site: Site) -> None:
    actor = make_actor(site=site)
    first, second = submit(actor=actor), submit(actor=actor)

    def found(**query: str) -> set[str]:
        return {e["object_id"] for e in auditor.get("/audit/", query).json()["results"]}

    assert found(action="submission.created") == {str(first.pk), str(second.pk)}
    assert found(object_id=str(first.pk)) == {str(first.pk)}
    assert found(action="submission.created", case=str(second.case_id)) == {str(second.pk)}
    moment = AuditEvent.objects.get(object_id=str(second.pk)).at
    assert found(action="submission.created", since=moment.isoformat()) == {str(second.pk)}
    assert found(action="submission.created", until=moment.isoformat()) == {str(first.pk)}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("case", "not-a-uuid"),
        ("since", "2026-01-01"),
        ("until", "9999-12-31 23:59"),
        ("action", "x" * 61),
        ("object_id", "\x00"),
        ("page_size", "0"),
        ("page_size", "201"),
        ("cursor", "x"),
    ],
)
def test_a_wrong_filter_is_named(auditor: Api, name: str, value: str) -> None:
    body = problem(auditor.get("/audit/", {name: value}), 422, "field_invalid")
    assert list(body["errors"]) == [name]
