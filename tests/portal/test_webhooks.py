"""The pages of webhooks: adding one, its secret once, its log, and what can be asked of it."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from cases.models import Site, Webhook
from cases.services.webhook_replays import webhook_ping
from cases.services.webhooks import webhook_switch
from tests.factories import make_site
from tests.portal.conftest import ROLES, SignIn, World
from tests.portal.markup import Markup, csp_faults, read, structure_faults
from tests.webhooks import BAD, OK, answered, claim, finish, make_ping, make_webhook, operator

pytestmark = pytest.mark.django_db
TYPED = {
    "name": "PACS",
    "url": "https://hooks.example.org/in",
    "events": ["job.succeeded", "job.failed"],
}


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


@pytest.fixture
def admin(site: Site, sign_in: SignIn) -> Client:
    return sign_in(role="admin", site=site)


def sound(response: object) -> Markup:
    page = read(response.content)  # type: ignore[attr-defined]
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    return page


def test_the_empty_list_teaches_and_leads_on(admin: Client) -> None:
    page = sound(admin.get(reverse("webhook-list")))
    assert "No webhooks yet" in page.text
    assert page.one("a", href=reverse("webhook-create"))


def test_a_webhook_is_added_and_its_secret_shown_once(admin: Client, site: Site) -> None:
    form = sound(admin.get(reverse("webhook-create")))
    chosen = [
        tag.attrs["value"] for tag in form.all("input", name_="events") if "checked" in tag.attrs
    ]
    assert chosen == ["job.succeeded", "job.failed", "job.cancelled"]
    made = admin.post(reverse("webhook-create"), TYPED)
    page = sound(made)
    (secret,) = [tag.text for tag in page.all("code") if tag.text.startswith("whsec_")]
    assert made.headers["Cache-Control"] == "no-store, private"
    webhook = Webhook.objects.get()
    assert (webhook.site_id, webhook.events) == (site.pk, TYPED["events"])
    for url in (reverse("webhook-detail", args=[webhook.pk]), reverse("webhook-list")):
        shown = admin.get(url)
        assert secret not in shown.content.decode()
        assert "hooks.example.org" in sound(shown).text
    rotated = sound(admin.post(reverse("webhook-secret", args=[webhook.pk])))
    (other,) = [tag.text for tag in rotated.all("code") if tag.text.startswith("whsec_")]
    assert other != secret


def test_what_is_wrong_is_said_beside_the_field_and_nothing_typed_is_lost(admin: Client) -> None:
    typed = {"name": "PACS", "url": "https://10.0.0.1/in", "events": []}
    refused = admin.post(reverse("webhook-create"), typed)
    assert refused.status_code == 422
    page = sound(refused)
    links = {tag.attrs["href"] for tag in page.all("a") if tag.attrs["href"].startswith("#")}
    assert {"#url", "#events"} <= links
    assert "inside this or another network" in page.text
    assert page.values()["url"] == typed["url"]
    assert not Webhook.objects.exists()


def test_the_page_shows_the_log_and_a_message_its_attempts(admin: Client, site: Site) -> None:
    webhook, _ = make_webhook(site)
    url = reverse("webhook-detail", args=[webhook.pk])
    assert "Nothing was sent yet" in sound(admin.get(url)).text
    answered(site, patient_id="SECRET-ID-77", patient_name="Zebrafish^Quilla")
    (letter,) = claim()
    finish(letter, BAD)
    page = sound(admin.get(url))
    assert "Failing" in page.text
    assert "Refused by the receiver (500)" in page.text
    one = sound(admin.get(reverse("webhook-delivery", args=[letter.delivery_id])))
    assert "The receiver answered with status 500." in one.text
    assert '"type": "job.created"' in one.text
    for text in (page.text, one.text):
        assert "SECRET-ID" not in text
        assert "Zebrafish" not in text
    assert "No message is in this state" in sound(admin.get(url, {"state": "FAILED"})).text
    older = admin.get(url, {"older_than": str(letter.delivery_id)})
    assert "Newest" in sound(older).text
    assert admin.get(url, {"older_than": "x", "state": "x"}).status_code == 200


def test_it_is_pinged_switched_changed_and_replayed(admin: Client, site: Site) -> None:
    webhook, _ = make_webhook(site)
    about = [webhook.pk]
    pinged = admin.post(reverse("webhook-ping", args=about), follow=True)
    assert "A test is on its way" in sound(pinged).text
    (letter,) = claim()
    finish(letter, OK)
    again = admin.post(reverse("webhook-delivery-replay", args=[letter.delivery_id]), follow=True)
    assert "sent once more" in sound(again).text
    answered(site)
    since = {"since": "2020-01-01T00:00"}
    refused = admin.post(reverse("webhook-replay", args=about), since)
    assert refused.status_code == 422
    assert "within the last 30 days" in sound(refused).text
    for wrong in ("", "soon"):
        bad = admin.post(reverse("webhook-replay", args=about), {"since": wrong})
        assert "Give a date and a time." in sound(bad).text
    off = admin.post(reverse("webhook-switch", args=about), {"enabled": "off"}, follow=True)
    text = sound(off).text
    assert "Somebody switched it off." in text
    assert "Send a test" not in text
    assert admin.post(reverse("webhook-ping", args=about)).status_code == 409
    changed = admin.post(
        reverse("webhook-detail", args=about), {**TYPED, "name": "RIS"}, follow=True
    )
    assert "The webhook is changed." in sound(changed).text
    wrong = admin.post(reverse("webhook-detail", args=about), {**TYPED, "url": "x"})
    assert wrong.status_code == 422
    sound(wrong)


def test_one_that_the_service_switched_off_says_why(admin: Client, site: Site) -> None:
    webhook, _ = make_webhook(site)
    webhook_switch(actor=operator(site), webhook_id=webhook.pk, enabled=False)
    Webhook.objects.update(off_reason="failing")
    page = sound(admin.get(reverse("webhook-detail", args=[webhook.pk])))
    assert "nothing could be delivered for too long" in page.text
    assert "Off" in sound(admin.get(reverse("webhook-list"))).text


def test_pages_and_acts_are_for_administrators_of_the_site(
    site: Site, world: World, sign_in: SignIn
) -> None:
    ping = make_ping(site)
    hook, message = [ping.webhook_id], [ping.pk]
    pages = [
        reverse("webhook-list"),
        reverse("webhook-create"),
        reverse("webhook-detail", args=hook),
        reverse("webhook-delivery", args=message),
    ]
    acts = [
        reverse(f"webhook-{verb}", args=hook) for verb in ("switch", "secret", "ping", "replay")
    ]
    acts += [reverse("webhook-delivery-replay", args=message), reverse("webhook-detail", args=hook)]
    for role in ROLES:
        client = sign_in(role=role, site=site)
        wanted = 200 if role == "admin" else 403
        assert [client.get(url).status_code for url in pages] == [wanted] * 4, role
        if role != "admin":
            assert {client.post(url).status_code for url in acts} == {403}, role
    stranger = sign_in(role="admin", site=world.site)
    assert [stranger.get(url).status_code for url in pages] == [200, 200, 404, 404]
    assert {stranger.post(url).status_code for url in acts} == {404}
    webhook_ping(actor=operator(site), webhook_id=ping.webhook_id)
    assert Client().post(acts[0]).status_code == 302
    assert Webhook.objects.get().enabled
