"""A patient's identity on the case page: hidden from administrators unless opened."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from cases.models import AuditEvent, IdentityOpening
from tests.portal.conftest import ROLES, SignIn, World
from tests.portal.markup import csp_faults, read, structure_faults
from tests.portal.pages import url_of
from tests.told import tells

pytestmark = pytest.mark.django_db

IDENTITY = ("SECRET-ID-77", "Zebrafish", "Quilla", "3 Feb")
WHY = "The sending system asks which patient this is."


@pytest.fixture
def admin(world: World, sign_in: SignIn) -> Client:
    return sign_in(role="admin", site=world.site)


def address(world: World, name: str = "open") -> str:
    return reverse(f"identity-{name}", args=[world.case.pk])


def names_the_patient(text: str) -> bool:
    # But for the times of what happened: these tests may run on a third of February.
    text = re.sub(r"\d{1,2} Feb (?!1961)\d{4}", "", text)
    return any(word in text for word in IDENTITY) or tells(text, "1961")


def opened(client: Client, world: World) -> str:
    response = client.post(address(world), {"reason": WHY}, follow=True)
    assert response.redirect_chain[0][0].startswith(url_of(world.case))
    return response.content.decode()


def test_it_is_shown_after_a_reason_with_the_way_to_close_it(world: World, admin: Client) -> None:
    before = admin.get(url_of(world.case)).content.decode()
    assert not names_the_patient(before)
    assert address(world) in before
    form = read(admin.get(address(world)).content)
    assert structure_faults(form) == []
    assert not names_the_patient(form.text)

    html = opened(admin, world)
    page = read(html)
    assert "Zebrafish, Quilla" in page.text and "SECRET-ID-77" in page.text
    assert WHY in page.text
    assert csp_faults(page) == []
    told = admin.post(address(world, "close"), follow=True)
    assert "hidden again" in read(told.content).text
    assert not names_the_patient(told.content.decode())


def test_without_a_reason_nothing_opens(world: World, admin: Client) -> None:
    response = admin.post(address(world), {"reason": " "})
    assert response.status_code == 422
    assert "Say why" in read(response.content).text
    assert not names_the_patient(admin.get(url_of(world.case)).content.decode())
    assert not IdentityOpening.objects.exists()


def test_it_is_open_in_this_session_only(world: World, admin: Client, sign_in: SignIn) -> None:
    opened(admin, world)
    user = IdentityOpening.objects.get().user
    for other in (sign_in(user), sign_in(role="admin", site=world.site)):
        assert not names_the_patient(other.get(url_of(world.case)).content.decode())
    admin.post(reverse("sign-out"))
    admin.force_login(user)
    assert not names_the_patient(admin.get(url_of(world.case)).content.decode())


def test_its_reason_is_told_to_who_gave_it_and_to_those_who_see_identity(
    world: World, admin: Client, sign_in: SignIn
) -> None:
    opened(admin, world)
    for client, told in (
        (admin, True),
        (sign_in(role="radiologist", site=world.site), True),
        (sign_in(role="admin", site=world.site), False),
    ):
        page = client.get(url_of(world.case)).content.decode()
        assert "Identity opened" in page
        assert (WHY in page) is told


def test_nothing_else_follows_the_opening(world: World, admin: Client) -> None:
    opened(admin, world)
    for path in (
        reverse("worklist"),
        reverse("worklist-rows"),
        reverse("case-answers", args=[world.case.pk]),
        reverse("case-audit", args=[world.case.pk]),
        reverse("audit-list"),
        reverse("patient-erase", args=[world.case.pk]),
        f"/api/v1/cases/{world.case.pk}/",
        "/api/v1/audit/",
    ):
        response = admin.get(path)
        assert response.status_code in (200, 204), path
        assert not names_the_patient(response.content.decode()), path
    assert admin.get(reverse("image-file", args=[world.image.pk])).status_code == 403
    assert not names_the_patient(str(list(AuditEvent.objects.values("detail", "changed_fields"))))


def test_it_stands_in_the_history_for_all_who_work_with_the_case(
    world: World, admin: Client, sign_in: SignIn
) -> None:
    opened(admin, world)
    user = IdentityOpening.objects.get().user
    reader = sign_in(site=world.site)
    page = read(reader.get(url_of(world.case)).content).text
    assert f"by {user.username}: {WHY}" in page
    history = read(reader.get(reverse("case-audit", args=[world.case.pk])).content).text
    assert "Opened the patient's identity (for 15 minutes)" in history
    trail = read(sign_in(role="auditor", site=world.site).get(reverse("audit-list")).content)
    assert "identity.opened" in trail.text
    assert WHY not in trail.text


def test_the_page_is_drawn_anew_when_the_time_is_over(world: World, admin: Client) -> None:
    before = timezone.now()
    page = read(opened(admin, world))
    after = timezone.now()
    notice = page.one("div", class_="notice caution identity-open")
    assert notice.attrs["hx-get"] == address(world, "state")
    seconds = int(notice.attrs["hx-trigger"].removeprefix("load delay:").removesuffix("s"))
    opening = IdentityOpening.objects.get()
    assert opening.expires_at - opening.opened_at == timedelta(minutes=15)
    # A moment after its time is over.
    least, most = ((opening.expires_at - at).total_seconds() for at in (after, before))
    assert least + 1 <= seconds <= most + 2
    assert "HX-Refresh" not in admin.get(address(world, "state")).headers
    admin.post(address(world, "close"))
    assert admin.get(address(world, "state")).headers["HX-Refresh"] == "true"


def test_it_is_for_administrators_of_the_site(world: World, sign_in: SignIn) -> None:
    for role in set(ROLES) - {"admin"}:
        client = sign_in(role=role, site=world.site)
        assert client.get(address(world)).status_code == 403
        assert client.post(address(world), {"reason": WHY}).status_code == 403
        assert client.post(address(world, "close")).status_code == 403
    stranger = sign_in(role="admin")
    assert stranger.get(address(world)).status_code == 404
    assert stranger.post(address(world), {"reason": WHY}).status_code == 404
    assert not IdentityOpening.objects.exists()
    reader = sign_in(site=world.site).get(url_of(world.case)).content.decode()
    assert address(world) not in reader


def test_after_an_erasure_there_is_nothing_to_open(world: World, admin: Client) -> None:
    opened(admin, world)
    url = reverse("patient-erase", args=[world.case.pk])
    token = read(admin.get(url).content).values()["token"]
    admin.post(url, {"reason": "Asked for.", "token": token})
    assert admin.post(address(world), {"reason": WHY}).status_code == 410
    assert not names_the_patient(admin.get(url_of(world.case)).content.decode())
