"""Curation pages: who sees them, that nobody is named, deciding, and asking for a snapshot."""

from __future__ import annotations

import io
import uuid
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from PIL import Image as Raster

from cases.access import Actor
from cases.models import Site, SnapshotFreeze, TrainingCandidate
from cases.states import CandidateState, JobState
from tests.curation import BENIGN, BOX, INVASIVE, accepted, actors, found, record
from tests.factories import make_site, submit
from tests.portal.conftest import ROLES, SignIn
from tests.portal.markup import Markup, Tag, csp_faults, read, structure_faults
from tests.told import tells

pytestmark = pytest.mark.django_db

SECRETS = ("SECRET-ID-77", "Zebrafish", "Quilla", "ACC-0815", "image0.jpg")


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


@pytest.fixture
def people(site: Site) -> tuple[Actor, Actor]:
    return actors(site)


@pytest.fixture
def candidate(people: tuple[Actor, Actor]) -> TrainingCandidate:
    return found(
        reader=people[0],
        phash=5,
        patient_id="SECRET-ID-77",
        patient_name="Zebrafish^Quilla",
        birth_date="1961-02-03",
        accession_number="ACC-0815",
    )


@pytest.fixture
def admin(site: Site, sign_in: SignIn) -> Client:
    return sign_in(role="admin", site=site)


def url(candidate: TrainingCandidate, name: str = "candidate-detail") -> str:
    return reverse(name, args=[candidate.pk])


def named(page: Markup, name: str) -> list[Tag]:
    return [tag for tag in page.all("input") if tag.attrs.get("name") == name]


def decide(client: Client, candidate: TrainingCandidate, decision: str, **typed: Any) -> Any:
    """Send the form of the page as it stands there, with what a person typed."""
    page = read(client.get(url(candidate)).content)
    sent = {
        tag.attrs["name"]: tag.attrs["value"]
        for tag in page.all("input", type="hidden")
        if tag.attrs["name"] in ("version", "box")
    }
    return client.post(url(candidate, "candidate-decide"), {**sent, "decision": decision, **typed})


def state_of(candidate: TrainingCandidate) -> str:
    candidate.refresh_from_db()
    return candidate.state


def test_only_administrators_of_the_site_see_anything_of_it(
    candidate: TrainingCandidate, site: Site, sign_in: SignIn
) -> None:
    pages = [
        reverse("candidate-list"),
        reverse("freeze-list"),
        url(candidate),
        url(candidate, "candidate-picture"),
    ]
    for role in ROLES:
        client = sign_in(role=role, site=site)
        expected = 200 if role == "admin" else 403
        found = [client.get(page).status_code for page in pages]
        assert (role, found) == (role, [expected] * len(pages))
        if role != "admin":
            assert client.post(url(candidate, "candidate-decide")).status_code == 403
            assert client.post(reverse("freeze-list")).status_code == 403
            freeze = reverse("freeze-cancel", args=[uuid.uuid4()])
            assert client.post(freeze).status_code == 403
    stranger = sign_in(role="admin", site=make_site())
    assert [stranger.get(page).status_code for page in pages[2:]] == [404, 404]
    assert stranger.post(url(candidate, "candidate-decide")).status_code == 404
    assert str(candidate.pk) not in stranger.get(pages[0]).content.decode()
    assert Client().get(pages[0]).status_code == 302


def test_no_page_names_the_patient_and_every_page_is_well_made(
    candidate: TrainingCandidate, admin: Client, people: tuple[Actor, Actor]
) -> None:
    other = accepted(reader=people[0], admin=people[1], phash=4)
    addresses = [reverse("candidate-list"), reverse("freeze-list"), url(candidate), url(other)]
    addresses.append(f"{addresses[0]}?state=&label=benign&basis=histology&only=unfrozen&page=1")
    for address in addresses:
        content = admin.get(address).content
        for secret in SECRETS:
            assert secret not in content.decode(), (address, secret)
        assert not tells(content.decode(), "1961"), address
        page = read(content)
        assert (address, csp_faults(page), structure_faults(page)) == (address, [], [])
    text = read(admin.get(url(candidate)).content).text
    assert "Benign, accepted, of another patient" in " ".join(text.split())
    assert "on neither side of the test yet" in text


def test_the_picture_is_just_the_ultrasound_region(
    candidate: TrainingCandidate, admin: Client
) -> None:
    answer = admin.get(url(candidate, "candidate-picture"))
    assert answer.headers["Content-Type"] == "image/png"
    with Raster.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == (BOX[2] - BOX[0], BOX[3] - BOX[1])
        assert picture.info == {}


def test_an_image_that_was_not_read_has_no_picture_and_no_way_to_accept(
    admin: Client, people: tuple[Actor, Actor]
) -> None:
    image = submit(actor=people[0], laterality="L", clock_position="2").images.get()
    record(people[0], image.finding, BENIGN)
    waiting = TrainingCandidate.objects.get(image=image)
    page = read(admin.get(url(waiting)).content)
    assert "has not read the image yet" in page.text
    assert not named(page, "identity_checked")
    assert admin.get(url(waiting, "candidate-picture")).status_code == 404


def test_accepting_rejecting_and_opening_again(candidate: TrainingCandidate, admin: Client) -> None:
    answer = decide(admin, candidate, "accept", reason="Clear.", identity_checked="1")
    assert answer.status_code == 302
    assert state_of(candidate) == CandidateState.ACCEPTED
    assert (candidate.box, candidate.identity_checked) == (BOX, True)
    assert "Clear." in read(admin.get(url(candidate)).content).text
    decide(admin, candidate, "reject", reason="Seen again: marks.")
    assert state_of(candidate) == CandidateState.REJECTED
    decide(admin, candidate, "reopen", reason="They are not in it.")
    assert state_of(candidate) == CandidateState.PENDING
    assert admin.post(url(candidate, "candidate-decide"), {"decision": "?"}).status_code == 404


def test_a_refused_decision_keeps_what_was_typed_and_says_what_is_missing(
    candidate: TrainingCandidate, admin: Client
) -> None:
    answer = decide(admin, candidate, "accept", reason="A typed reason.")
    assert answer.status_code == 422
    page = read(answer.content)
    assert page.one("input", id="reason").attrs["value"] == "A typed reason."
    assert page.all("a", href="#identity_checked")
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    answer = decide(admin, candidate, "reject", reason=" ")
    assert answer.status_code == 422
    assert state_of(candidate) == CandidateState.PENDING


def test_a_page_that_is_stale_decides_nothing(
    candidate: TrainingCandidate, admin: Client, people: tuple[Actor, Actor]
) -> None:
    stale = {"version": "1", "box": "40,20,460,470", "identity_checked": "1", "reason": "Clear."}
    record(people[0], candidate.image.finding, INVASIVE, "Excision.")
    answer = admin.post(url(candidate, "candidate-decide"), {**stale, "decision": "accept"})
    assert answer.status_code == 409
    assert "Look again" in read(answer.content).text
    assert state_of(candidate) == CandidateState.PENDING
    for box in ("", "a,b", "1,2,3", "9" * 40):
        sent = {**stale, "version": "2", "box": box, "decision": "accept"}
        assert admin.post(url(candidate, "candidate-decide"), sent).status_code == 409


def test_a_contradiction_is_shown_and_hinders(
    candidate: TrainingCandidate, admin: Client, people: tuple[Actor, Actor]
) -> None:
    other = found(reader=people[0], phash=4, content=INVASIVE)
    page = read(admin.get(url(candidate)).content)
    assert "Reject one of the two first" in page.text
    assert not named(page, "identity_checked")
    decide(admin, other, "reject", reason="A poor picture.")
    assert named(read(admin.get(url(candidate)).content), "identity_checked")


def test_a_conflict_of_findings_is_decided_by_choosing_one(
    admin: Client, people: tuple[Actor, Actor]
) -> None:
    place = {"accession_number": "A-1", "patient_id": "P-1"}
    first = found(reader=people[0], **place)
    found(reader=people[0], content=INVASIVE, clock_position="9", **place)
    page = read(admin.get(url(first)).content)
    options = named(page, "outcome")
    assert len(options) == 2
    typed = {"reason": "The upper one.", "identity_checked": "1"}
    refused = decide(admin, first, "accept", **typed)
    assert refused.status_code == 422
    assert structure_faults(read(refused.content)) == []
    decide(admin, first, "accept", outcome=options[1].attrs["value"], **typed)
    assert (state_of(first), first.label) == ("ACCEPTED", "malignant")


def test_the_list_is_filtered_and_paged_by_its_address(
    candidate: TrainingCandidate, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rows(query: str) -> int:
        page = read(admin.get(reverse("candidate-list") + query).content)
        return len([a for a in page.all("a") if str(candidate.pk) in a.attrs.get("href", "")])

    assert [rows(q) for q in ("", "?state=", "?state=PENDING&label=benign")] == [1, 1, 1]
    assert [rows(q) for q in ("?state=REJECTED", "?label=malignant", "?page=2")] == [0, 0, 0]
    # What is no filter is none.
    assert [rows(q) for q in ("?state=NO&label=%00", "?page=x", "?page=-1")] == [1, 1, 1]


def test_a_snapshot_is_asked_for_shown_and_called_off(admin: Client) -> None:
    typed = {"role": "locked", "name": "spring", "share": "20", "reason": "A test set."}
    address = reverse("freeze-list")
    # There is no way back from either: neither is chosen beforehand.
    refused = admin.post(address, {**typed, "role": ""})
    assert refused.status_code == 422
    assert not [i for i in read(refused.content).all("input") if "checked" in i.attrs]
    # Nothing is accepted yet: no form is offered that could not succeed.
    assert not read(admin.get(address).content).all("input", id="name")
    refused = admin.post(address, {**typed, "share": "200", "reason": ""})
    assert refused.status_code == 422
    page = read(refused.content)
    assert page.one("input", id="name").attrs["value"] == "spring"
    assert structure_faults(page) == []
    assert admin.post(address, typed).status_code == 302
    freeze = SnapshotFreeze.objects.get()
    assert (freeze.role, freeze.share, freeze.job.state) == ("locked", 20, JobState.PENDING)
    again = admin.post(address, typed)
    assert again.status_code == 409
    assert SnapshotFreeze.objects.count() == 1
    page = read(admin.get(address).content)
    poll = page.one("div", id="freezes").attrs["hx-get"]
    assert admin.get(poll).status_code == 204
    assert admin.post(reverse("freeze-cancel", args=[freeze.pk])).status_code == 302
    assert admin.get(poll).status_code == 200
    freeze.job.refresh_from_db()
    assert freeze.job.state == JobState.CANCELLED
    assert admin.post(address, {**typed, "role": "training"}).status_code == 302
    assert SnapshotFreeze.objects.first().share == 0  # type: ignore[union-attr]
