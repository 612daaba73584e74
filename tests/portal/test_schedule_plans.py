"""The gate plan of a schedule in the portal, and who stands behind its runs."""

from __future__ import annotations

import pytest
from django.urls import reverse

from cases.models import Site, TrainingSchedule
from cases.services.people import actor_for_user
from cases.services.schedule_fields import schedule_fields_parse
from cases.services.schedules import training_schedule_create, training_schedule_fire
from cases.states import ModelState
from tests.cases.governing import asked
from tests.factories import WORKER, live_model, make_actor, make_site, make_user
from tests.gates import make_locked_set, make_plan
from tests.portal.conftest import ROLES, SignIn
from tests.portal.markup import csp_faults, read, structure_faults
from tests.training import make_snapshot, trained

pytestmark = pytest.mark.django_db

SCHEDULE = {"name": "nightly", "cron": "30 2 * * 1", "init": "none"}
VIEWERS = {"sonographer", "radiologist", "integration", "admin", "approver"}


@pytest.fixture
def site(db: None) -> Site:
    live_model()
    return make_site()


def test_a_schedule_is_added_with_a_plan_shown_and_changed(site: Site, sign_in: SignIn) -> None:
    first = make_plan(site=site, name="spring")
    second = make_plan(first.locked_set, site=site, name="autumn")
    strange = make_plan(make_locked_set(400), name="elsewhere")
    adder = make_user(roles=["admin"], site=site)
    editor = make_user(roles=["admin"], site=site)
    form = read(sign_in(adder).get(reverse("schedule-create")).content)
    offered = {tag.attrs["value"] for tag in form.all("option")}
    assert {str(first.pk), str(second.pk), ""} <= offered
    assert str(strange.pk) not in offered
    sent = {**form.values(), **SCHEDULE, "plan": str(first.pk)}
    page = read(sign_in(adder).post(reverse("schedule-create"), sent, follow=True).content)
    schedule = TrainingSchedule.objects.get()
    assert schedule.plan == first
    assert page.one("a", href=reverse("gate-plan-detail", args=[first.pk]))
    url = reverse("schedule-detail", args=[schedule.pk])
    page = read(sign_in(editor).get(url).content)
    assert page.values()["plan"] == str(first.pk)
    sent = {**page.values(), "plan": str(second.pk)}
    page = read(sign_in(editor).post(url, sent, follow=True).content)
    schedule.refresh_from_db()
    assert schedule.plan == second
    behind = ", ".join(sorted([adder.username, editor.username]))
    assert f"{behind} Added, changed or switched it on" in page.text
    assert (csp_faults(page), structure_faults(page)) == ([], [])


def test_a_schedule_is_bound_to_a_kind_of_snapshots_shown_and_changed(
    site: Site, sign_in: SignIn
) -> None:
    make_snapshot()
    client = sign_in(role="admin", site=site)
    form = read(client.get(reverse("schedule-create")).content)
    assert form.values()["lineage"] == "any"
    sent = {**form.values(), **SCHEDULE, "lineage": "imported:made"}
    page = read(client.post(reverse("schedule-create"), sent, follow=True).content)
    assert "The newest snapshot of the imported folder made" in page.text
    assert page.values()["lineage"] == "imported:made"
    url = reverse("schedule-detail", args=[TrainingSchedule.objects.get().pk])
    sent = {**page.values(), "lineage": "frozen"}
    page = read(client.post(url, sent, follow=True).content)
    assert "The newest snapshot of accepted images" in page.text
    wrong = client.post(url, {**sent, "lineage": "imported:elsewhere"})
    assert wrong.status_code == 422
    assert "No folder of this name was imported" in read(wrong.content).text
    viewer = read(sign_in(role="approver", site=site).get(url).content)
    assert "The newest snapshot of accepted images" in viewer.text
    assert (csp_faults(page), structure_faults(page)) == ([], [])


def test_without_a_plan_the_page_says_what_that_means(site: Site, sign_in: SignIn) -> None:
    client = sign_in(role="admin", site=site)
    page = read(client.post(reverse("schedule-create"), SCHEDULE, follow=True).content)
    assert "come without a verdict and cannot go live" in page.text
    wrong = client.post(reverse("schedule-create"), {**SCHEDULE, "name": "x", "plan": "spring"})
    assert wrong.status_code == 422
    assert "There is no gate plan with this id" in read(wrong.content).text


def test_an_approver_who_changed_the_schedule_is_told_and_gets_403(
    site: Site, sign_in: SignIn
) -> None:
    editor = make_user(roles=["admin", "approver"], site=site)
    make_snapshot()
    schedule = training_schedule_create(
        actor=make_actor(roles=["admin"], site=site), fields=schedule_fields_parse(SCHEDULE)
    )
    url = reverse("schedule-detail", args=[schedule.pk])
    form = read(sign_in(editor).get(url).content).values()
    assert sign_in(editor).post(url, {**form, "epochs": "2"}).status_code == 302
    firing = training_schedule_fire(actor=WORKER, schedule_id=schedule.pk)
    assert firing is not None
    assert firing.run is not None
    request = asked(trained(firing.run), ModelState.SHADOW)
    page = read(sign_in(editor).get(reverse("promotion-detail", args=[request.pk])).content)
    approve = reverse("promotion-approve", args=[request.pk])
    assert "added or changed the schedule that did" in page.text
    assert not page.all("form", action=approve)
    sent = {"reason": "yes", "expected_active": str(live_model().pk)}
    assert sign_in(editor).post(approve, sent).status_code == 403
    other = sign_in(role="approver", site=site)
    page = read(other.get(reverse("promotion-detail", args=[request.pk])).content)
    assert page.one("form", action=approve)
    assert other.post(approve, sent).status_code == 302


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_and_changes_what_it_may(role: str, site: Site, sign_in: SignIn) -> None:
    plan = make_plan(site=site)
    user = make_user(roles=[role], site=site)
    schedule = training_schedule_create(
        actor=make_actor(roles=["admin"], site=site),
        fields=schedule_fields_parse({**SCHEDULE, "plan": str(plan.pk)}),
    )
    url = reverse("schedule-detail", args=[schedule.pk])
    assert sign_in(user).get(url).status_code == (200 if role in VIEWERS else 403)
    changed = sign_in(user).post(url, {**SCHEDULE, "plan": ""})
    assert changed.status_code == (302 if role == "admin" else 403)
    schedule.refresh_from_db()
    assert (schedule.plan is None) == (role == "admin")
    assert actor_for_user(user).label == user.username
