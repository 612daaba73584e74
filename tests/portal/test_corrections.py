"""Correcting the patient of a case and erasing a patient's data at the portal."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from cases.models import PatientCorrection, PatientErasure
from cases.services.people import actor_for_user
from tests.factories import make_site, make_user, submit
from tests.portal.conftest import ROLES, SignIn, World
from tests.portal.markup import Markup, csp_faults, read, structure_faults
from tests.portal.pages import poll_url, url_of

pytestmark = pytest.mark.django_db

SENT = {"patient_id": "RIGHT-1", "patient_name": "Roe, Mary", "reason": "Wrong line picked."}


@pytest.fixture
def reader(world: World, sign_in: SignIn) -> Client:
    return sign_in(make_user(roles=["radiologist"], site=world.site))


@pytest.fixture
def admin(world: World, sign_in: SignIn) -> Client:
    return sign_in(make_user(roles=["admin"], site=world.site))


def sound(html: bytes) -> Markup:
    page = read(html)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    return page


def test_a_case_is_moved_to_the_right_patient(world: World, reader: Client, admin: Client) -> None:
    url = reverse("patient-correct", args=[world.case.pk])
    page = sound(reader.get(url).content)
    assert "The case with its 1 image, answers, readings and outcomes moves" in page.text
    refused = reader.post(url, {**SENT, "reason": "", "patient_id": "SECRET-ID-77"})
    assert refused.status_code == 422
    page = sound(refused.content)
    assert "Say why, in a sentence." in page.text
    assert page.values()["patient_name"] == "Roe, Mary"
    same = reader.post(url, {**SENT, "patient_id": "SECRET-ID-77"})
    assert "filed under this patient already" in sound(same.content).text
    assert reader.post(url, SENT).status_code == 302
    page = sound(reader.get(url_of(world.case)).content)
    assert "RIGHT-1" in page.text
    assert "SECRET-ID-77" not in page.text
    assert "Moved here from another record" in page.text
    assert "Wrong line picked." in page.text
    assert "Wrong line picked." not in read(admin.get(url_of(world.case)).content).text
    history = read(reader.get(reverse("case-audit", args=[world.case.pk])).content).text
    assert "oved the case to another patient record" in history


def test_a_patients_data_is_erased_by_the_numbers(
    world: World, admin: Client, reader: Client
) -> None:
    open_page = reader.post(reverse("result-replay", args=[world.result.pk]), follow=True)
    poll = poll_url(read(open_page.content))
    url = reverse("patient-erase", args=[world.case.pk])
    page = sound(admin.get(url).content)
    assert "1 in 1 case" in page.text
    assert "1 job waiting or running will be cancelled" in page.text
    assert "Zebrafish" not in page.text
    sent = {"token": page.values()["token"], "reason": ""}
    refused = admin.post(url, sent)
    assert refused.status_code == 422
    sound(refused.content)
    stale = admin.post(url, {"token": "stale", "reason": "Asked for."})
    assert stale.status_code == 409
    assert "Look at the numbers again." in sound(stale.content).text
    assert admin.post(url, {**sent, "reason": "Asked for."}, follow=True).status_code == 200
    page = sound(reader.get(url_of(world.case)).content)
    assert "The data of this patient was erased" in page.text
    assert "Asked for." in page.text
    assert "Zebrafish" not in page.text
    assert reader.get(poll).headers["HX-Refresh"] == "true"
    for name, pk in (
        ("image-preview", world.image.pk),
        ("image-file", world.image.pk),
        ("result-heatmap", world.result.pk),
    ):
        gone = reader.get(reverse(name, args=[pk]))
        assert gone.status_code == 410
        assert "The data of this patient was erased." in read(gone.content).text
    assert reader.post(reverse("job-rerun", args=[world.job.pk])).status_code == 410
    rows = sound(reader.get(reverse("worklist")).content)
    assert "erased" in rows.text
    assert "Zebrafish" not in rows.text
    sound(reader.get(reverse("case-audit", args=[world.case.pk])).content)
    assert admin.get(url).status_code == 410
    trail = read(admin.get(reverse("audit-list")).content).text
    assert "rased a patient's data" in trail


def test_each_role_does_what_is_its_own(world: World, sign_in: SignIn) -> None:
    other = submit(actor=actor_for_user(world.sonographer)).case
    for name, allowed in (("patient-correct", "radiologist"), ("patient-erase", "admin")):
        url = reverse(name, args=[other.pk])
        for call, status in ((Client.get, 200), (Client.post, 422)):
            found = {
                role: call(sign_in(role=role, site=world.site), url).status_code for role in ROLES
            }
            assert found == {role: status if role == allowed else 403 for role in ROLES}
        stranger = sign_in(role=allowed, site=make_site())
        assert stranger.post(url, SENT).status_code == 404
    assert not PatientCorrection.objects.exists()
    assert not PatientErasure.objects.exists()


def test_the_card_offers_what_the_role_may(
    world: World, reader: Client, admin: Client, sign_in: SignIn
) -> None:
    def card(client: Client) -> str:
        return read(client.get(url_of(world.case)).content).one("section", id="record").text

    assert "Move to another patient…" in card(reader)
    assert "Erase" not in card(reader)
    assert "Erase the patient's data" in card(admin)
    assert "Move to another patient…" not in card(admin)
    sonographer = card(sign_in(world.sonographer))
    assert "Record opt-out of research" in sonographer
    assert "into no training data made from then on. It can be undone here." in sonographer
    assert "opt-out" not in card(admin)
    assert "Move to another patient…" not in sonographer
