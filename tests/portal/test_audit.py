"""The audit page: filters, paging, nothing of other sites or of patients."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse

from cases.models import AuditSeal
from cases.portal.views import audit
from cases.services.seals import audit_seal
from tests.factories import make_site
from tests.portal.conftest import SignIn, World
from tests.portal.markup import Markup, read

pytestmark = pytest.mark.django_db
URL = "/audit/"


def actions(page: Markup) -> list[str]:
    return [tag.text for tag in page.all("td", class_="mono nowrap")]


def test_events_read_as_sentences_with_their_technical_name(world: World, sign_in: SignIn) -> None:
    page = read(sign_in(role="auditor", site=world.site).get(URL).content)
    row = next(tag.text for tag in page.all("tr") if "submission.created" in tag.text)
    assert world.sonographer.username in row
    assert "Submitted 1 image" in row
    assert "patient_id" in row


def test_no_patient_is_named(world: World, sign_in: SignIn) -> None:
    for role in ("auditor", "admin"):
        html = sign_in(role=role, site=world.site).get(URL).content.decode()
        for identity in ("SECRET-ID-77", "Zebrafish", "1961-02-03", "ACC-0815"):
            assert identity not in html


def test_an_auditor_of_another_site_sees_nothing_of_it(world: World, sign_in: SignIn) -> None:
    page = read(sign_in(role="auditor", site=make_site()).get(URL).content)
    assert "submission.created" not in actions(page)


def test_the_trail_is_filtered_by_action_and_by_object(world: World, sign_in: SignIn) -> None:
    client = sign_in(role="auditor", site=world.site)
    assert set(actions(read(client.get(URL, {"action": "job.created"}).content))) == {"job.created"}
    page = read(client.get(URL, {"object_id": str(world.case.pk)}).content)
    assert set(actions(page)) == {"case.created"}
    page = read(client.get(URL, {"action": "no.such", "object_id": "'\x00--"}).content)
    assert "Nothing found" in page.text
    assert page.values()["action"] == "no.such"


def test_paging_keeps_the_filter_and_loses_nothing(
    world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "PAGE_SIZE", 3)
    client = sign_in(role="auditor", site=world.site)
    page = read(client.get(URL).content)
    seen = actions(page)
    while older := page.all("a", rel="next"):
        page = read(client.get(older[0].attrs["href"]).content)
        seen += actions(page)
    monkeypatch.setattr(audit, "PAGE_SIZE", 1000)
    assert seen == actions(read(client.get(URL).content))

    monkeypatch.setattr(audit, "PAGE_SIZE", 1)
    page = read(client.get(URL, {"action": "role.granted"}).content)
    page = read(client.get(page.one("a", rel="next").attrs["href"]).content)
    assert actions(page) == ["role.granted"]
    assert "action=role.granted" in page.one("a", rel="prev").attrs["href"]


def test_an_administrator_reaches_the_case_from_an_event_an_auditor_does_not(
    world: World, sign_in: SignIn
) -> None:
    case = reverse("case-detail", args=[world.case.pk])
    assert case in sign_in(role="admin", site=world.site).get(URL).content.decode()
    assert case not in sign_in(role="auditor", site=world.site).get(URL).content.decode()


def test_the_page_tells_when_the_trail_was_last_sealed(world: World, sign_in: SignIn) -> None:
    client = sign_in(role="auditor", site=world.site)
    assert "Nothing is sealed yet" in read(client.get(URL).content).text
    audit_seal()
    head = AuditSeal.objects.get()
    page = read(client.get(URL).content)
    assert f"up to event {head.last_id}." in page.text
    assert f"1:{head.hash}" in page.text
    assert "not sealed yet" not in page.text


def test_the_page_warns_where_sealing_stands_still(
    world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sign_in(role="admin", site=world.site)
    monkeypatch.setattr(audit, "SEAL_OVERDUE", timedelta(seconds=-60))
    assert "are not sealed yet" in read(client.get(URL).content).text
