"""Webhooks over HTTP: kept, switched, pinged, replayed; the secret once; the log of attempts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from cases.models import Site, Webhook
from cases.services.deliveries import deliveries_claim, delivery_finish
from tests.api.contract import Api, problem
from tests.factories import WORKER, make_actor, make_site, make_token, stored_result, submit
from tests.webhooks import BAD, make_webhook

pytestmark = pytest.mark.django_db
BODY = {
    "name": "PACS",
    "target": "https://hooks.example.org/in?key=1",
    "events": ["job.succeeded", "job.failed"],
}


def admin_api(site: Site) -> Api:
    return Api(make_token(site=site, roles=["admin"], scopes=["admin"])[1])


def put(api: Api, path: str, body: Any) -> Any:
    return api.send("PUT", path, headers={}, data=body, content_type="application/json")


def test_a_webhook_is_made_changed_and_switched_and_its_secret_shown_once(site: Site) -> None:
    api = admin_api(site)
    made = api.post("/webhooks/", BODY)
    assert made.status_code == 201
    told = made.json()
    assert made.headers["Location"] == told["url"]
    assert told["secret"].startswith("whsec_")
    assert (told["enabled"], told["off_reason"], told["target"]) == (True, None, BODY["target"])
    path = f"/webhooks/{told['id']}/"
    shown = api.get(path)
    assert "secret" not in shown.json()
    assert told["secret"] not in shown.content.decode()
    changed = put(api, path, {**BODY, "events": ["job.created"]})
    assert (changed.status_code, changed.json()["events"]) == (200, ["job.created"])
    off = api.post(f"{path}switch/", {"enabled": False}).json()
    assert (off["enabled"], off["off_reason"]) == (False, "by_hand")
    problem(api.post(f"{path}ping/"), 409, "state_conflict")
    problem(api.post(f"{path}switch/"), 422, "field_invalid")
    assert api.post(f"{path}switch/", {"enabled": True}).json()["off_at"] is None
    rotated = api.post(f"{path}secret/").json()
    assert rotated["secret"] not in ("", told["secret"])
    assert [row["id"] for row in api.get("/webhooks/").json()["results"]] == [told["id"]]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"target": "https://127.0.0.1/"}, "target"), ({"target": "http://example.org/"}, "target"),
     ({"target": ""}, "target"), ({"events": []}, "events"), ({"events": ["ping"]}, "events"),
     ({"name": ""}, "name")],
)  # fmt: skip
def test_a_wrong_field_is_named(site: Site, change: dict[str, Any], field: str) -> None:
    api = admin_api(site)
    body = problem(api.post("/webhooks/", {**BODY, **change}), 422, "field_invalid")
    assert [name.partition(".")[0] for name in body["errors"]] == [field]
    assert not Webhook.objects.exists()


def test_the_log_tells_of_attempts_and_a_message_can_be_sent_once_more(site: Site) -> None:
    api = admin_api(site)
    webhook, secret = make_webhook(site)
    job = submit(
        actor=make_actor(site=site), patient_id="SECRET-7", patient_name="Zebrafish"
    ).jobs.get()
    stored_result(job)
    (letter,) = deliveries_claim(actor=WORKER, limit=9)
    delivery_finish(
        actor=WORKER, delivery_id=letter.delivery_id, attempt=letter.attempt, ending=BAD
    )
    log = f"/webhooks/{webhook.pk}/deliveries/"
    rows = api.get(log, {"page_size": "2"}).json()
    assert len(rows["results"]) == 2
    every = rows["results"] + api.get(rows["next"]).json()["results"]
    assert {row["event"] for row in every} == {"job.created", "job.started", "job.succeeded"}
    assert api.get(log, {"state": "FAILED"}).json()["results"] == []
    problem(api.get(log, {"state": "MAYBE"}), 422, "field_invalid")
    one = api.get(f"/webhooks/deliveries/{letter.delivery_id}/")
    told = one.json()
    assert (told["state"], told["attempts"][0]["status_code"]) == ("PENDING", 500)
    assert told["next_attempt_at"] is not None
    assert told["message"]["data"]["job"]["id"] == str(job.pk)
    for private in ("SECRET-7", "Zebrafish", secret):
        assert private not in one.content.decode()
    again = api.post(f"/webhooks/deliveries/{letter.delivery_id}/replay/")
    assert (again.status_code, again.json()["id"]) == (202, str(letter.delivery_id))
    since = (timezone.now() - timedelta(hours=1)).isoformat()
    replayed = api.post(f"/webhooks/{webhook.pk}/replay/", {"since": since})
    assert (replayed.status_code, replayed.json()) == (202, {"deliveries": 0})
    future = (timezone.now() + timedelta(hours=1)).isoformat()
    problem(api.post(f"/webhooks/{webhook.pk}/replay/", {"since": future}), 422, "field_invalid")


def test_another_sites_webhooks_are_as_if_they_were_not(site: Site) -> None:
    webhook, _ = make_webhook(make_site())
    api = admin_api(site)
    assert api.get("/webhooks/").json()["results"] == []
    problem(api.get(f"/webhooks/{webhook.pk}/deliveries/"), 404, "not_found")
    problem(put(api, f"/webhooks/{webhook.pk}/", BODY), 404, "not_found")
