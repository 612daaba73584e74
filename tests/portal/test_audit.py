"""The audit page: filters, paging, nothing of other sites or of patients."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta

import pytest
from django.urls import reverse

from cases.access import SYSTEM
from cases.models import AuditEvent, AuditSeal
from cases.portal.action_words import OBJECTS
from cases.portal.views import audit
from cases.selectors import audit_search
from cases.services.seals import audit_seal
from cases.services.serving import serving_suspend
from tests.factories import make_site
from tests.portal.conftest import SignIn, World
from tests.portal.markup import Markup, read, structure_faults

pytestmark = pytest.mark.django_db
URL = "/audit/"
EXPORT = "/audit/export.csv"


def actions(page: Markup) -> list[str]:
    return [tag.text for tag in page.all("span", class_="audit-code mono muted")]


def test_events_read_as_sentences_with_their_technical_name(world: World, sign_in: SignIn) -> None:
    page = read(sign_in(role="auditor", site=world.site).get(URL).content)
    row = next(tag.text for tag in page.all("tr") if "submission.created" in tag.text)
    assert world.sonographer.username in row
    assert "Submitted 1 image" in row
    assert "patient id" in row
    assert "patient_id" not in row


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
    assert f"up to event {head.last_id:,}." in page.text
    assert f"1:{head.hash}" in page.text
    assert "not sealed yet" not in page.text


def test_the_page_warns_where_sealing_stands_still(
    world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = sign_in(role="admin", site=world.site)
    monkeypatch.setattr(audit, "SEAL_OVERDUE", timedelta(seconds=-60))
    assert "are not sealed yet" in read(client.get(URL).content).text


def test_the_trail_is_filtered_by_person_case_and_time(world: World, sign_in: SignIn) -> None:
    client = sign_in(role="auditor", site=world.site)
    name = world.sonographer.username
    page = read(client.get(URL, {"actor": name}).content)
    assert {tag.text for tag in page.all("td") if tag.text == name}
    assert "result.stored" not in actions(page)
    page = read(client.get(URL, {"case": str(world.case.pk)}).content)
    assert {"case.created", "job.created", "result.stored"} <= set(actions(page))
    assert "user.created" not in actions(page)
    assert "Nothing found" in read(client.get(URL, {"since": "2100-01-01T00:00"}).content).text
    assert "Nothing found" in read(client.get(URL, {"until": "2000-01-01T00:00"}).content).text
    both = {"since": "2000-01-01T00:00", "until": "2100-01-01T00:00", "action": "job.created"}
    assert actions(read(client.get(URL, both).content)) == ["job.created"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"since": "soon"}, "Enter a date and a time"),
        ({"until": "31.12."}, "Enter a date and a time"),
        ({"case": "0815"}, "Enter the whole id"),
    ],
)
def test_a_senseless_filter_is_told_beside_its_field(
    asked: dict[str, str], words: str, world: World, sign_in: SignIn
) -> None:
    client = sign_in(role="auditor", site=world.site)
    response = client.get(URL, asked)
    assert response.status_code == 422
    page = read(response.content)
    assert words in page.text
    assert page.values() | asked == page.values()
    assert structure_faults(page) == []
    assert client.get(EXPORT, asked).status_code == 422
    assert not AuditEvent.objects.filter(action="audit.exported").exists()


def test_objects_link_to_where_they_stand_for_who_may_look(world: World, sign_in: SignIn) -> None:
    def links(role: str, action: str) -> list[str]:
        client = sign_in(role=role, site=world.site)
        page = read(client.get(URL, {"action": action}).content)
        return [t.attrs["href"] for t in page.all("a", class_="nowrap")]

    user = reverse("user-detail", args=[world.sonographer.pk])
    assert user in links("admin", "user.created")
    assert links("auditor", "user.created") == []
    case = reverse("case-detail", args=[world.case.pk])
    assert links("admin", "job.created") == [case]
    model = reverse("model-detail", args=[world.result.model_version_id])
    assert model in links("admin", "model.active")


def test_objects_are_named_as_people_call_them(world: World, sign_in: SignIn) -> None:
    client = sign_in(role="admin", site=world.site)
    told = {
        "result.stored": "answer",
        "patient.created": "patient record",
        "case.created": "case",
    }
    for action, words in told.items():
        page = read(client.get(URL, {"action": action}).content)
        cells = [tag.text.strip() for tag in page.all("td", class_="audit-object")]
        assert cells and all(re.match(rf"{words} [0-9a-f-]{{8}}", cell) for cell in cells)
    # The event is about the case itself: its page is opened, not told as the case of a case.
    short = str(world.case.pk)[:8]
    assert f"case {short} open of case {short}" in cells


def test_every_object_of_the_trail_has_words(world: World) -> None:
    kinds = set(AuditEvent.objects.values_list("object_type", flat=True))
    assert kinds and kinds <= set(OBJECTS)


def test_what_fits_is_taken_as_csv_and_that_it_was_is_an_event(
    world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_search, "EXPORTED_AT_ONCE", 2)
    client = sign_in(role="auditor", site=world.site)
    response = client.get(EXPORT, {"case": str(world.case.pk)})
    assert response.streaming
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert re.search(r'filename="audit-\d{8}-\d{4}\.csv"', response.headers["Content-Disposition"])
    rows = list(csv.DictReader(io.StringIO(b"".join(response).decode())))
    events = AuditEvent.objects.filter(case_id=world.case.pk).order_by("-id")
    assert [int(row["id"]) for row in rows] == [event.pk for event in events]
    assert {row["case_id"] for row in rows} == {str(world.case.pk)}
    taken = AuditEvent.objects.get(action="audit.exported")
    assert taken.detail["filters"] == ["case"]
    assert taken.detail["case"] == str(world.case.pk)


def test_an_export_tells_no_identity_no_reason_and_nothing_of_another_site(
    world: World, sign_in: SignIn
) -> None:
    serving_suspend(actor=SYSTEM, reason="Because of Quokka.")
    client = sign_in(role="admin", site=world.site)
    told = b"".join(client.get(EXPORT, {"actor": "=Zebrafish()"})).decode()
    assert len(told.splitlines()) == 1
    told = b"".join(client.get(EXPORT)).decode()
    assert "serving.suspended" in told
    for word in ("SECRET-ID-77", "Zebrafish", "1961-02-03", "ACC-0815", "Quokka"):
        assert word not in told
    # Not what somebody typed either: the export is no way to write into the trail.
    assert "Zebrafish" not in str(list(AuditEvent.objects.values_list("detail", flat=True)))
    other = sign_in(role="auditor", site=make_site())
    assert str(world.case.pk) not in b"".join(other.get(EXPORT)).decode()


@pytest.mark.parametrize("role", ["sonographer", "radiologist", "approver"])
def test_who_sees_no_trail_takes_none(role: str, world: World, sign_in: SignIn) -> None:
    assert sign_in(role=role, site=world.site).get(EXPORT).status_code == 403
    assert not AuditEvent.objects.filter(action="audit.exported").exists()
