"""Signed readings over HTTP: listed, of one case, inside their case; drafts and text guarded."""

from __future__ import annotations

import pytest

from cases.access import Actor
from cases.models import AuditEvent, Reading, Result, Site
from cases.services.readings import (
    Place,
    ReadingContent,
    reading_content_parse,
    reading_draft_save,
    reading_sign,
)
from tests.api.conftest import answer_waiting
from tests.api.contract import Api, problem
from tests.factories import make_actor, make_site, make_token, submit

pytestmark = pytest.mark.django_db

CONTENT: ReadingContent = reading_content_parse(
    {"category": "4B", "label": "malignant", "text": "Mrs Doe, a spiculated mass."}
)


@pytest.fixture
def reader(site: Site) -> Actor:
    return make_actor(site=site)


@pytest.fixture
def result(reader: Actor) -> Result:
    submit(actor=reader, laterality="L", clock_position="2")
    return answer_waiting()[0]


def signed(reader: Actor, result: Result, place: Place | None = None) -> Reading:
    case = result.image.case_id
    place = place or Place()
    return reading_sign(actor=reader, case_id=case, place=place, content=CONTENT, version=0)


def test_a_signed_reading_is_told_whole(api: Api, reader: Actor, result: Result) -> None:
    first = signed(reader, result)
    added = signed(reader, result, Place(addendum_to_id=first.pk))
    rows = api.get("/readings/", {"case": str(result.image.case_id)}).json()["results"]
    assert [row["id"] for row in rows] == [str(added.pk), str(first.pk)]
    told = rows[1]
    assert told["category"] == "4B"
    assert told["edition"] == "birads_5_2013"
    assert told["label"] == "malignant"
    assert told["text"] == "Mrs Doe, a spiculated mass."
    assert told["reader"] == reader.label
    assert (told["finding"], told["addendum_to"], told["ai_seen"]) == (None, None, False)
    assert told["results_of_record"] == [str(result.pk)]
    assert rows[0]["addendum_to"] == str(first.pk)
    assert api.get(told["case_url"]).json()["readings"][0] == told
    listed = AuditEvent.objects.get(action="reading.listed")
    assert (listed.case_id, listed.detail) == (result.image.case_id, {"readings": 2})


def test_what_was_signed_last_comes_first_on_every_page(
    api: Api, site: Site, reader: Actor, result: Result
) -> None:
    case = result.image.case_id
    # Begun first, signed last.
    reading_draft_save(actor=reader, case_id=case, place=Place(), content=CONTENT, version=0)
    early = signed(make_actor(site=site), result)
    late = reading_sign(actor=reader, case_id=case, place=Place(), content=CONTENT, version=1)
    first = api.get("/readings/", {"page_size": "1"}).json()
    second = api.get(first["next"]).json()
    pages = [first["results"][0]["id"], second["results"][0]["id"]]
    assert pages == [str(late.pk), str(early.pk)]
    assert second["next"] is None


def test_drafts_are_in_no_answer(api: Api, reader: Actor, result: Result) -> None:
    case = result.image.case_id
    reading_draft_save(actor=reader, case_id=case, place=Place(), content=CONTENT, version=0)
    assert api.get("/readings/").json()["results"] == []
    assert api.get(f"/cases/{case}/").json()["readings"] == []


def test_a_signature_changes_the_etag_of_its_case(api: Api, reader: Actor, result: Result) -> None:
    case = f"/cases/{result.image.case_id}/"
    etag = api.get(case).headers["ETag"]
    assert api.get(case, If_None_Match=etag).status_code == 304
    signed(reader, result)
    assert api.get(case, If_None_Match=etag).status_code == 200


def test_text_is_for_those_who_may_see_the_patient(
    site: Site, reader: Actor, result: Result
) -> None:
    signed(reader, result)
    admin = Api(make_token(site=site, roles=["admin"], scopes=["read"])[1])
    (row,) = admin.get("/readings/").json()["results"]
    assert (row["category"], row["text"]) == ("4B", None)


def test_another_sites_readings_are_not_there(reader: Actor, result: Result) -> None:
    signed(reader, result)
    stranger = Api(make_token(site=make_site())[1])
    query = {"case": str(result.image.case_id)}
    assert stranger.get("/readings/", query).json()["results"] == []
    assert AuditEvent.objects.get(action="reading.listed").case_id is None
    problem(stranger.get("/readings/", {"case": "x"}), 422, "field_invalid")
