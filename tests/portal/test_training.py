"""Training runs, snapshots and schedules in the portal."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.translation import override

from cases.access import Actor, ActorKind
from cases.models import Site, TrainingRun, TrainingSchedule
from cases.portal.schedule_forms import timing_words
from cases.services.schedule_fields import schedule_fields_parse
from cases.services.schedules import training_schedule_create, training_schedule_fire
from cases.services.training_work import (
    TrainingNews,
    training_claim,
    training_fail,
    training_heartbeat,
    training_succeed,
)
from tests.factories import live_model, make_actor, make_site
from tests.portal.conftest import ROLES, SignIn
from tests.portal.markup import csp_faults, read, structure_faults
from tests.training import card_of, make_run, make_snapshot

pytestmark = pytest.mark.django_db

WORKER = Actor(kind=ActorKind.WORKER, label="training@test")
VIEWERS = {"sonographer", "radiologist", "integration", "admin", "approver"}


@pytest.fixture
def site(db: None) -> Site:
    live_model()
    return make_site()


@pytest.fixture
def admin(site: Site, sign_in: SignIn) -> Client:
    return sign_in(role="admin", site=site)


def begin(**news: Any) -> Any:
    claim = training_claim(actor=WORKER)
    assert claim is not None
    assert training_heartbeat(claim=claim, news=TrainingNews(**news))
    return claim


def make_schedule(site: Site, **raw: Any) -> TrainingSchedule:
    fields = schedule_fields_parse({"name": "nightly", "cron": "30 2 * * 1", **raw})
    return training_schedule_create(actor=make_actor(roles=["admin"], site=site), fields=fields)


PROGRESS = {
    "phase": "training",
    "epoch": 2,
    "epochs": 4,
    "step": 3,
    "steps": 6,
    "loss": 0.5,
    "eta_seconds": 3900,
}
EPOCHS = [
    {"epoch": 1, "train_loss": 0.9, "val_loss": 0.95, "size": 128.0, "seconds": 12.34},
    {"epoch": 2, "train_loss": 0.7, "val_loss": None, "size": 128.0, "seconds": 12.0},
]


def test_empty_pages_teach_what_comes_first(admin: Client) -> None:
    page = read(admin.get(reverse("training-list")).content)
    assert "No training runs yet" in page.text
    assert "import_dataset" in page.text
    assert "import_dataset" in read(admin.get(reverse("snapshot-list")).content).text
    assert "import_dataset" in read(admin.get(reverse("training-start")).content).text
    assert "No schedules yet" in read(admin.get(reverse("schedule-list")).content).text
    make_snapshot()
    page = read(admin.get(reverse("training-list")).content)
    assert page.one("a", href=reverse("training-start"))


def test_an_administrator_starts_a_training_and_lands_on_its_page(admin: Client) -> None:
    old, new = make_snapshot(), make_snapshot(9)
    form = read(admin.get(reverse("training-start")).content).values()
    assert (form["snapshot"], form["if_running"]) == (new.pk, "refuse")
    sent = {**form, "snapshot": old.pk, "reason": "new data", "epochs": "2", "init": "none"}
    for _ in range(2):  # a double click is one run
        response = admin.post(reverse("training-start"), sent)
    run = TrainingRun.objects.get()
    assert response.headers["Location"] == reverse("training-run", args=[run.pk])
    text = read(admin.get(response.headers["Location"]).content).text
    assert "new data" in text
    assert "Waits for its turn" in text


def test_a_refused_form_keeps_what_was_typed_and_names_the_fields(admin: Client) -> None:
    make_snapshot()
    form = read(admin.get(reverse("training-start")).content).values()
    response = admin.post(reverse("training-start"), {**form, "epochs": "0", "reason": "why not"})
    assert response.status_code == 422
    page = read(response.content)
    assert page.one("a", href="#epochs")
    assert page.values()["reason"] == "why not"
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    assert not TrainingRun.objects.exists()


def test_a_second_start_shows_the_training_that_is_on(admin: Client, site: Site) -> None:
    on = make_run(site=site)
    form = read(admin.get(reverse("training-start")).content).values()
    response = admin.post(reverse("training-start"), {**form, "reason": "again"})
    assert response.status_code == 409
    assert read(response.content).one("a", href=reverse("training-run", args=[on.pk]))
    queued = {**form, "reason": "again", "if_running": "queue"}
    response = admin.post(reverse("training-start"), queued)
    text = read(admin.get(response.headers["Location"]).content).text
    assert f"First comes training {str(on.pk)[:8]}" in text


def test_a_running_training_shows_epochs_curves_time_to_go_and_log(
    admin: Client, site: Site
) -> None:
    run = make_run(site=site)
    begin(progress=PROGRESS, epochs=EPOCHS, log_tail="epoch=1 <b>loss</b>")
    html = admin.get(reverse("training-run", args=[run.pk])).content.decode()
    page = read(html)
    assert "Epoch 2 of 4, step 3 of 6" in page.text
    assert "about 1 h 05 min to go" in page.text
    assert page.one("progress").attrs["value"] == "38"
    assert "0.950" in page.text
    assert 'class="curve"' in html
    assert "epoch=1 &lt;b&gt;loss&lt;/b&gt;" in html
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    drawing = admin.get(reverse("training-run-curve", args=[run.pk]))
    assert drawing.headers["Content-Type"] == "image/svg+xml"


@pytest.mark.parametrize("role", sorted(VIEWERS))
def test_the_log_is_shown_to_those_who_train(role: str, site: Site, sign_in: SignIn) -> None:
    run = make_run(site=site)
    begin(log_tail="Traceback: a/name.png")
    client = sign_in(role=role, site=site)
    for name in ("training-run", "training-run-live"):
        html = client.get(reverse(name, args=[run.pk])).content.decode()
        assert "What happened" in html
        assert ("Traceback" in html, "End of the log" in html) == (role == "admin",) * 2


def test_the_page_asks_for_what_changed_and_stops_at_the_end(admin: Client, site: Site) -> None:
    run = make_run(site=site)
    claim = begin(progress=PROGRESS)
    page = read(admin.get(reverse("training-run", args=[run.pk])).content)
    url = page.one("div", id="run-live").attrs["hx-get"]
    assert admin.get(url).status_code == 204
    assert training_heartbeat(claim=claim, news=TrainingNews(epochs=EPOCHS))
    fragment = read(admin.get(url).content)
    assert "0.950" in fragment.text
    url = fragment.one("div", id="run-live").attrs["hx-get"]
    model = training_succeed(
        actor=WORKER, claim=claim, weights=b"x", card=card_of(b"x"), news=TrainingNews()
    )
    assert model is not None
    ended = read(admin.get(url).content)
    live = ended.one("div", id="run-live").attrs
    assert "hx-get" not in live
    assert ended.one("a", href=reverse("model-detail", args=[model.pk]))
    # The form to cancel goes with it.
    assert ended.one("div", id="run-actions").attrs["hx-swap-oob"] == "outerHTML"
    assert not ended.all("form")


def test_the_list_asks_for_what_changed_too(admin: Client, site: Site) -> None:
    make_run(site=site)
    page = read(admin.get(reverse("training-list")).content)
    url = page.one("div", id="runs").attrs["hx-get"]
    assert admin.get(url).status_code == 204
    begin(progress=PROGRESS)
    response = admin.get(url)
    assert "Epoch 2 of 4, step 3 of 6" in read(response.content).text
    assert "<html" not in response.content.decode()


def test_a_failed_training_says_why_what_to_do_and_that_the_live_model_stays(
    admin: Client, site: Site
) -> None:
    run = make_run(site=site)
    training_fail(
        actor=WORKER,
        claim=begin(),
        code="disk_full",
        detail="The disk of the training worker is full.",
        transient=False,
        news=TrainingNews(),
    )
    text = read(admin.get(reverse("training-run", args=[run.pk])).content).text
    assert "The disk of the training worker is full." in text
    assert "disk_full" in text
    assert "Free some space" in text
    assert "The live model still answers" in text


def test_cancelling_needs_a_reason(admin: Client, site: Site) -> None:
    run = make_run(site=site)
    url = reverse("training-run-cancel", args=[run.pk])
    page = read(admin.post(url, {"reason": " "}, follow=True).content)
    assert "Say why" in page.text
    page = read(admin.post(url, {"reason": "wrong data"}, follow=True).content)
    assert "Cancelled" in page.text
    assert "wrong data" in page.text
    assert not page.all("form", action=url)


def test_snapshots_are_listed_and_offered(admin: Client) -> None:
    known, unknown = make_snapshot(9), make_snapshot(data_root="")
    page = read(admin.get(reverse("snapshot-list")).content)
    assert page.one("a", href=f"{reverse('training-start')}?snapshot={known.pk}")
    assert not page.all("a", href=f"{reverse('training-start')}?snapshot={unknown.pk}")
    chosen = admin.get(reverse("training-start"), {"snapshot": known.pk})
    assert read(chosen.content).values()["snapshot"] == known.pk


# Schedules


def test_a_schedule_is_added_changed_and_switched_off(admin: Client) -> None:
    make_snapshot()
    form = read(admin.get(reverse("schedule-create")).content).values()
    refused = admin.post(reverse("schedule-create"), {**form, "name": "x", "cron": "soon"})
    assert refused.status_code == 422
    assert read(refused.content).one("a", href="#cron")
    made = admin.post(reverse("schedule-create"), {**form, "name": "nightly"}, follow=True)
    schedule = TrainingSchedule.objects.get()
    page = read(made.content)
    assert "At 02:30" in page.text
    changed = {**page.values(), "min_new_images": "25", "timing": "interval", "every": "3"}
    url = reverse("schedule-detail", args=[schedule.pk])
    page = read(admin.post(url, changed, follow=True).content)
    assert "Every 3 days" in page.text
    assert "At least 25 new labelled images" in page.text
    switch = reverse("schedule-switch", args=[schedule.pk])
    assert "it does not fire" in read(admin.post(switch, {}, follow=True).content).text


@pytest.mark.parametrize(
    ("line", "english", "german"),
    [
        ("30 2 * * 1", "At 02:30, only on Monday", "Um 02:30, nur am Montag"),
        ("0 22 * 3 mon-fri", "At 22:00, Monday through Friday", "Um 22:00, Montag bis Freitag"),
        ("*/15 * * * *", "Every 15 minutes", "Alle 15 Minuten"),
    ],
)
def test_a_cron_line_is_told_in_the_language_of_the_page(
    line: str, english: str, german: str, site: Site
) -> None:
    make_snapshot()
    schedule = make_schedule(site, cron=line)
    assert timing_words(schedule).startswith(english)
    with override("de"):
        assert timing_words(schedule).startswith(german)


def test_a_firing_whose_condition_was_not_met_says_why_on_its_page(
    admin: Client, site: Site
) -> None:
    make_snapshot(6)
    schedule = make_schedule(site, min_new_images="100")
    training_schedule_fire(actor=WORKER, schedule_id=schedule.pk)
    page = read(admin.get(reverse("schedule-detail", args=[schedule.pk])).content)
    assert "Condition not met" in page.text
    assert re.search(r"6 new labelled images .*; 100 are needed", page.text)
    assert "100 are needed" in read(admin.get(reverse("schedule-list")).content).text


# Who may


def pages(run: TrainingRun, schedule: TrainingSchedule) -> dict[str, str]:
    return {
        "training-list": reverse("training-list"),
        "snapshot-list": reverse("snapshot-list"),
        "training-run": reverse("training-run", args=[run.pk]),
        "training-run-live": reverse("training-run-live", args=[run.pk]),
        "schedule-list": reverse("schedule-list"),
        "schedule-detail": reverse("schedule-detail", args=[schedule.pk]),
    }


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_and_does_what_it_may(role: str, site: Site, sign_in: SignIn) -> None:
    run, schedule = make_run(site=site), make_schedule(site)
    client = sign_in(role=role, site=site)
    expected = 200 if role in VIEWERS else 403
    for url in pages(run, schedule).values():
        response = client.get(url)
        assert (url, response.status_code) == (url, expected)
        if expected == 200 and not url.endswith("/live/"):
            page = read(response.content)
            assert (url, csp_faults(page), structure_faults(page)) == (url, [], [])
    for name in ("training-start", "schedule-create"):
        assert client.get(reverse(name)).status_code == (200 if role == "admin" else 403)
    for url in (
        reverse("training-start"),
        reverse("training-run-cancel", args=[run.pk]),
        reverse("schedule-create"),
        reverse("schedule-detail", args=[schedule.pk]),
        reverse("schedule-switch", args=[schedule.pk]),
    ):
        status = client.post(url, {}).status_code
        assert (url, status == 403) == (url, role != "admin")


def test_another_sites_runs_and_schedules_are_not_there(site: Site, sign_in: SignIn) -> None:
    run, schedule = make_run(site=site), make_schedule(site)
    stranger = sign_in(role="admin")
    for name, url in pages(run, schedule).items():
        expected = 200 if name.endswith("-list") else 404
        assert (name, stranger.get(url).status_code) == (name, expected)
    assert stranger.post(reverse("training-run-cancel", args=[run.pk])).status_code == 404
    assert stranger.post(reverse("schedule-switch", args=[schedule.pk])).status_code == 404
    nowhere = reverse("training-run", args=[uuid.uuid4()])
    assert stranger.get(nowhere).status_code == 404
    assert "nightly" not in stranger.get(reverse("schedule-list")).content.decode()
