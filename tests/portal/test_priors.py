"""Earlier cases of the same patient: by issuer and id, by side, never by name or across sites."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from cases.access import Actor
from cases.models import AuditEvent, Case, ResultRead, Submission
from cases.services.people import actor_for_user
from tests.cases.erasing import erase
from tests.factories import make_actor, make_site, make_user, stored_result, submit
from tests.portal.conftest import SignIn
from tests.portal.markup import Markup, csp_faults, read, structure_faults
from tests.portal.pages import url_of
from tests.told import tells

pytestmark = pytest.mark.django_db

SAME = {"patient_id": "P-1", "patient_name": "Doe^Jane"}


def examined(actor: Actor, **fields: Any) -> Submission:
    return submit(actor=actor, **{**SAME, "laterality": "L", **fields})


def answered(actor: Actor, malignant: float, **fields: Any) -> Submission:
    submission = examined(actor, **fields)
    stored_result(submission.jobs.get(), malignant)
    return submission


def priors_on(page: Markup) -> str:
    return page.one("section", id="priors").text


def compare_url(case: Case, prior: Submission) -> str:
    here, there = case.images.get(), prior.images.get()
    return f"{reverse('case-compare', args=[case.pk])}?image={here.pk}&prior={there.pk}"


def test_earlier_cases_are_listed_with_date_side_and_answer(
    actor: Actor, radiologist: Client
) -> None:
    first = answered(actor, 0.88, accession_number="A-1")
    second = answered(actor, 0.1, accession_number="A-2")
    third = examined(actor, accession_number="A-3")
    told = priors_on(read(radiologist.get(url_of(third.case)).content))
    assert told.index("A-2") < told.index("A-1")
    for words in (
        f"{first.case.created_at:%b %Y}",
        "Image 1, left",
        "Above the malignant threshold",
        "malignant score 0.88",
        "malignant score 0.10",
    ):
        assert words in told
    # What came later is no prior.
    told = priors_on(read(radiologist.get(url_of(second.case)).content))
    assert "A-1" in told
    assert "A-3" not in told


def test_a_namesake_another_issuer_and_another_sites_record_are_never_shown(
    actor: Actor, radiologist: Client
) -> None:
    elsewhere = make_actor(roles=["sonographer"], site=make_site())
    namesake = examined(actor, patient_id="P-2", accession_number="A-1")
    issuer = examined(actor, patient_issuer="OTHER", accession_number="A-2")
    foreign = submit(actor=elsewhere, **SAME, laterality="L", accession_number="A-3")
    case = examined(actor, accession_number="A-4").case
    assert "None at this site." in priors_on(read(radiologist.get(url_of(case)).content))
    for other in (namesake, issuer, foreign):
        assert radiologist.get(compare_url(case, other)).status_code == 404


def test_the_other_breast_is_left_out_and_an_unstated_side_is_said_to_be_so(
    actor: Actor, radiologist: Client
) -> None:
    examined(actor, laterality="R", accession_number="A-1")
    examined(actor, laterality="unknown", accession_number="A-2")
    examined(actor, laterality="B", accession_number="A-3")
    case = examined(actor, laterality="L", accession_number="A-4").case
    told = priors_on(read(radiologist.get(url_of(case)).content))
    assert "1 image of the other breast is left out." in told
    assert "Image 1, right" not in told
    assert "Image 1, side not stated" in told
    assert "Image 1, both" in told


def test_two_pictures_stand_side_by_side_with_their_answers(
    actor: Actor, radiologist: Client
) -> None:
    before = answered(actor, 0.2, accession_number="A-1")
    now = answered(actor, 0.9, accession_number="A-2")
    link = next(
        tag.attrs["href"]
        for tag in read(radiologist.get(url_of(now.case)).content).all("a")
        if "/compare/" in tag.attrs["href"]
    )
    page = read(radiologist.get(link).content)
    pictures = [tag.attrs["src"] for tag in page.all("img", class_="stage-image")]
    shown = zip((now, before), pictures, strict=True)
    assert all(str(one.images.get().pk) in url for one, url in shown)
    cards = [tag.text for tag in page.all("article")]
    assert "0.90" in cards[0]
    assert "0.20" in cards[1]
    assert "not made to be subtracted" in page.text
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    compared = AuditEvent.objects.filter(action="case.compared")
    assert {event.case_id for event in compared} == {now.case.pk, before.case.pk}


def test_a_frame_of_either_side_can_be_asked_for(actor: Actor, radiologist: Client) -> None:
    before, now = examined(actor, accession_number="A-1"), examined(actor, accession_number="A-2")
    url = compare_url(now.case, before)
    # A still has one frame: another one in the address is not followed.
    for frames in ("&frame=1", "&frame=7&prior_frame=0", "&frame=x"):
        page = read(radiologist.get(url + frames).content)
        assert all("frame=0" in t.attrs["src"] for t in page.all("img", class_="stage-image"))


@pytest.mark.parametrize(
    "query",
    [
        "",
        "image={here}",
        "image=x&prior=y",
        "image={nowhere}&prior={there}",
        "image={there}&prior={there}",
        "image={here}&prior={here}",
    ],
)
def test_what_is_no_pair_is_not_found(query: str, actor: Actor, radiologist: Client) -> None:
    before, now = examined(actor, accession_number="A-1"), examined(actor, accession_number="A-2")
    ids = {"here": now.images.get().pk, "there": before.images.get().pk, "nowhere": uuid.uuid4()}
    url = reverse("case-compare", args=[now.case.pk])
    assert radiologist.get(f"{url}?{query.format(**ids)}").status_code == 404


def test_a_later_case_is_no_prior_and_strangers_find_none(
    actor: Actor, radiologist: Client, sign_in: SignIn
) -> None:
    before, now = examined(actor, accession_number="A-1"), examined(actor, accession_number="A-2")
    assert radiologist.get(compare_url(before.case, now)).status_code == 404
    url = compare_url(now.case, before)
    assert radiologist.get(url).status_code == 200
    assert sign_in(site=make_site()).get(url).status_code == 404
    assert sign_in(role="auditor", site=now.case.site).get(url).status_code == 403
    admin = sign_in(role="admin", site=now.case.site).get(url)
    assert admin.status_code == 200
    assert not tells(admin.content.decode(), "Doe")
    assert not tells(admin.content.decode(), "P-1")
    erase(make_actor(roles=["admin"], site=now.case.site), now.case)
    assert radiologist.get(url).status_code == 404


def test_seeing_a_priors_answer_is_noted_as_a_read(actor: Actor, sign_in: SignIn) -> None:
    before = answered(actor, 0.7, accession_number="A-1")
    now = examined(actor, accession_number="A-2")
    reader = make_user(roles=["radiologist"], site=now.case.site)
    sign_in(reader).get(url_of(now.case))
    read_of = ResultRead.objects.filter(reader_id=actor_for_user(reader).user_id)
    assert [r.result.image.case_id for r in read_of] == [before.case.pk]


def test_the_number_of_queries_does_not_grow_with_the_priors(
    actor: Actor, radiologist: Client, django_assert_max_num_queries: Any
) -> None:
    for n in range(4):
        submit(actor=actor, **SAME, accession_number=f"A-{n}")
    case = examined(actor, accession_number="A-9").case
    with django_assert_max_num_queries(36):
        radiologist.get(url_of(case))
