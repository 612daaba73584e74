"""No door leads to an answer that is withheld: every page and endpoint is tried, as people who may
not see it yet; then they may."""

from __future__ import annotations

import io
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from pypdf import PdfReader

from cases.access import SYSTEM
from cases.models import Case, Reading, Result, Site, User
from cases.services.jobs import job_rerun
from cases.services.leases import replay_job_claim
from cases.services.people import actor_for_user
from cases.services.reader_first import reader_first_switch
from cases.services.readings import Place, reading_content_parse, reading_sign
from cases.services.replays import replay_request, replay_store
from cases.services.withdrawals import result_withdraw
from tests.factories import (
    WORKER,
    answer,
    make_actor,
    make_site,
    make_token,
    make_user,
    stored_result,
    submit,
)
from tests.portal.conftest import SignIn
from tests.portal.markup import csp_faults, read, structure_faults

pytestmark = pytest.mark.django_db

# No page says any of this unless an answer is told.
SCORE = 0.8137
TELLING = re.compile(
    r"(?<!\d)0\.81|0\.1304|QUOKKA|scores this image above|above the malignant threshold"
    r"|benign lesion pattern|no answer: |too uncertain|image was refused|computed again"
    r"|\"outcome\": ?\"(answered|abstained|refused)\"",
    re.I,
)
# The schema speaks of all answers there may be; the others end a session or look at the machine.
# Of those that end sessions the walk would see nothing more.
SKIPPED = {
    *("sign-in", "sign-out", "account_login", "account_logout", "sessions-end"),
    *("api:schema", "api:docs", "healthz", "readyz", "metrics"),
}
# Of these pages the words alone would tell.
OF_CASES = ("worklist", "worklist-rows", "case-detail", "case-answers", "case-audit")
WORDS = re.compile(
    r"\b(above|below) (the|its) |abstain|refused|withdrawn|\d of \d images? answered"
)


@dataclass
class Rig:
    """A site that reads first, with two cases: one answered, run again, replayed and talked of by
    a colleague; one that the model refused."""

    site: Site
    reader: User
    case: Case
    result: Result
    refused: Result
    taken_back: Result
    # What a colleague signed who had seen the answer; None where nobody has read yet.
    colleague: Reading | None

    @property
    def ids(self) -> dict[str, list[Any]]:
        return {
            "case_id": [self.case.pk, self.refused.image.case_id],
            "image_id": [self.result.image_id, self.refused.image_id],
            "result_id": [self.result.pk, self.refused.pk, self.taken_back.pk],
            "job_id": [self.result.job_id, self.refused.job_id],
            "model_id": [self.result.model_version_id],
            "finding_id": [self.case.findings.get().pk],
            "reading_id": [self.colleague.pk if self.colleague else uuid.uuid4()],
            "code": ["answer_withheld"],
        }

    def sign(self, case: Case) -> None:
        reading_sign(
            actor=actor_for_user(self.reader),
            case_id=case.pk,
            place=Place(),
            content=reading_content_parse({"category": "4A"}),
            version=0,
        )


@pytest.fixture
def rig(db: None) -> Rig:
    return made(read_by_a_colleague=True)


def made(*, read_by_a_colleague: bool) -> Rig:
    site = make_site()
    sender = make_actor(roles=["sonographer"], site=site)
    admin = make_actor(roles=["admin"], site=site)
    submission = submit(actor=sender, laterality="L", clock_position="2", accession_number="A-1")
    first = submission.jobs.get()
    taken_back = stored_result(first, SCORE)
    result_withdraw(actor=admin, result_id=taken_back.pk, reason="QUOKKA preset.")
    result = stored_result(job_rerun(actor=sender, job_id=first.pk), SCORE)
    job = replay_request(actor=SYSTEM, result_id=result.pk)
    (claim,) = replay_job_claim(actor=WORKER, job_id=job.pk)
    replay_store(actor=WORKER, job_id=job.pk, attempt=claim.attempt, answer=answer(0.2))
    other = submit(actor=sender)
    refused = stored_result(
        other.jobs.get(), outcome="refused", reason="The QUOKKA is no breast ultrasound"
    )
    reader_first_switch(actor=admin, on=True, reason="We begin a study.")
    spoken = None
    if read_by_a_colleague:
        colleague = make_actor(site=site)
        root = _signed(colleague, submission.case, "Before.")
        spoken = _signed(
            colleague, submission.case, "QUOKKA: it says 0.81.", addendum_to_id=root.pk
        )
    reader = make_user(roles=["radiologist"], site=site)
    return Rig(site, reader, submission.case, result, refused, taken_back, spoken)


def _signed(actor: Any, case: Case, text: str, **place: Any) -> Reading:
    return reading_sign(
        actor=actor,
        case_id=case.pk,
        place=Place(**place),
        content=reading_content_parse({"category": "2", "text": text}),
        version=0,
    )


def addresses(rig: Rig) -> Iterator[tuple[str, str]]:
    """Every address there is (its name, itself), with the ids of the rig where it takes some."""
    for name, arguments in sorted(set(_names(get_resolver().url_patterns))):
        for filled in _filled(arguments, rig.ids):
            yield name, reverse(name, kwargs=filled)


def _names(patterns: Any, space: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            inner = f"{pattern.namespace}:" if pattern.namespace else ""
            yield from _names(pattern.url_patterns, space + inner)
        elif isinstance(pattern, URLPattern) and pattern.name and pattern.name != "unknown":
            yield space + pattern.name, tuple(pattern.pattern.converters)


def _filled(arguments: tuple[str, ...], ids: dict[str, list[Any]]) -> Iterator[dict[str, Any]]:
    if not arguments:
        yield {}
    elif len(arguments) == 1 and arguments[0] in ids:
        yield from ({arguments[0]: value} for value in ids[arguments[0]])
    elif set(arguments) <= {"model_id", "name", "sha256"}:
        yield {name: ids["model_id"][0] if name == "model_id" else "x" for name in arguments}


def told(response: Any) -> str:
    """What somebody reads in it; of a PDF its words, since its packed bytes may look like any."""
    body = b"".join(response) if response.streaming else response.content
    if body.startswith(b"%PDF"):
        return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(body)).pages)
    return body.decode(errors="replace")


def leaks(client: Client, rig: Rig, *, posting: bool = False) -> list[str]:
    """What any address tells of the answers, by GET and perhaps by an empty POST."""
    found, tried = [], set()
    for name, address in addresses(rig):
        # Events tell states and ids alone (tests/api/test_events.py), and let go of the database.
        if name in SKIPPED or name.endswith("-events"):
            continue
        for method in ("get", "post") if posting else ("get",):
            with transaction.atomic():
                response = getattr(client, method)(address)
                body = told(response)
                transaction.set_rollback(True)
            tried.add((name, response.status_code))
            says = TELLING.search(body) or (name in OF_CASES and WORDS.search(body))
            if says:
                found.append(f"{method} {name}: {body[says.start() - 60 : says.end() + 60]!r}")
            if name.endswith("heatmap") and response.status_code == 200:
                found.append(f"{method} {name}: a picture")
    assert {name for name, status in tried if status == 200} >= {"worklist", "api:case-list"}
    return found


def test_no_address_tells_a_reader_who_has_not_read(rig: Rig, sign_in: SignIn) -> None:
    assert leaks(sign_in(rig.reader), rig, posting=True) == []


@pytest.mark.parametrize("role", ["sonographer", "admin"])
def test_no_address_tells_others_while_nobody_has_read(
    role: str, db: None, sign_in: SignIn
) -> None:
    rig = made(read_by_a_colleague=False)
    assert leaks(sign_in(role=role, site=rig.site), rig) == []


def test_no_address_tells_somebody_who_reads_and_runs_the_service(
    rig: Rig, sign_in: SignIn
) -> None:
    both = make_user(roles=["radiologist", "admin", "approver", "auditor"], site=rig.site)
    assert leaks(sign_in(both), rig) == []


def test_a_readers_own_token_is_no_way_around(rig: Rig) -> None:
    secret = make_token(user=rig.reader, scopes=["read", "submit"])[1]
    client = Client(headers={"Authorization": f"Bearer {secret}"})
    for name in ("job-detail", "case-detail", "image-detail"):
        for filled in _filled(
            ({"job-detail": "job_id", "case-detail": "case_id"}.get(name, "image_id"),), rig.ids
        ):
            response = client.get(reverse(f"api:{name}", kwargs=filled))
            assert response.status_code == 200
            assert not TELLING.search(told(response))
    assert client.get(reverse("api:result-detail", args=[rig.result.pk])).status_code == 403


def test_the_walk_would_find_an_answer(rig: Rig, sign_in: SignIn) -> None:
    """The same walk, where the reader has read: so that finding nothing means something."""
    rig.sign(rig.case)
    rig.sign(rig.refused.image.case)
    found = {line.partition(":")[0] for line in leaks(sign_in(rig.reader), rig)}
    pages = {"worklist", "case-detail", "case-answers", "case-audit", "result-heatmap"}
    assert {f"get {name}" for name in pages} <= found
    assert {"get api", "get model-recall", "get model-recall-csv"} <= found


def test_a_withheld_answer_is_refused_by_its_code(rig: Rig, sign_in: SignIn) -> None:
    client = sign_in(rig.reader)
    for name in ("result-detail", "result-heatmap", "result-replay"):
        response = client.get(reverse(f"api:{name}", args=[rig.result.pk]))
        assert (response.status_code, response.json()["code"]) == (403, "answer_withheld")
    job = client.get(reverse("api:job-detail", args=[rig.result.job_id]))
    body = job.json()
    assert (body["state"], body["result"], body["result_withheld"]) == ("SUCCEEDED", None, True)
    etag = {"If-None-Match": job.headers["ETag"]}
    address = reverse("api:job-detail", args=[rig.result.job_id])
    assert client.get(address, headers=etag).status_code == 304
    rig.sign(rig.case)
    again = client.get(address, headers=etag)
    assert again.status_code == 200
    assert (again.json()["result"]["label"], again.json()["result_withheld"]) == (
        "malignant",
        False,
    )


def test_the_reader_is_told_why_reads_and_then_sees(rig: Rig, sign_in: SignIn) -> None:
    client = sign_in(rig.reader)
    url = reverse("case-detail", args=[rig.case.pk])
    page = read(client.get(url).content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    assert "Answer withheld" in page.text
    assert "Your site reads first." in page.text
    assert "You have not signed finding 1 yet" in page.text
    typed = {"category": "4B", "label": "malignant", "action": "sign", "version": "0"}
    signed = client.post(reverse("reading-write", args=[rig.case.pk]), typed)
    assert signed.status_code == 302
    page = read(client.get(url).content)
    assert "The model scores this image above its malignant threshold." in page.text
    assert "Signed before the model's answer was shown." in page.text
    assert "QUOKKA: it says 0.81." in page.text
    own = Reading.objects.get(reader=rig.reader)
    assert (own.after_reveal, own.ai_seen) == (False, False)
    client.post(
        reverse("reading-write", args=[rig.case.pk]),
        {**typed, "category": "5", "addendum_to": own.pk},
    )
    assert "Signed after the model's answer was shown." in read(client.get(url).content).text


# The switch and the summary


def test_an_administrator_switches_it_at_the_portal(rig: Rig, sign_in: SignIn) -> None:
    client = sign_in(role="admin", site=rig.site)
    url = reverse("reader-first")
    page = read(client.get(url).content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    assert "Your site reads first" in page.text
    assert "1 case of your site has no signed reading" in page.text
    refused = client.post(url, {"on": "0", "reason": " "})
    assert refused.status_code == 422
    page = read(refused.content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    assert "Say why." in page.text
    assert client.post(url, {"on": "1", "reason": "Again."}).status_code == 409
    assert client.post(url, {"on": "0", "reason": "The study ended."}).status_code == 302
    page = read(client.get(url).content)
    assert "Answers are shown from the start" in page.text
    assert "The study ended." in page.text


@pytest.mark.parametrize("name", ["reader-first", "reading-changes", "reading-changes-csv"])
def test_its_pages_are_for_administrators(name: str, rig: Rig, sign_in: SignIn) -> None:
    roles = ("sonographer", "radiologist", "admin", "approver", "auditor", "integration")
    found = {
        role: sign_in(role=role, site=rig.site).get(reverse(name)).status_code for role in roles
    }
    assert found == {role: 200 if role == "admin" else 403 for role in roles}
    assert Client().get(reverse(name)).status_code == 302


def test_what_readers_changed_is_summed_up(rig: Rig, sign_in: SignIn) -> None:
    client = sign_in(role="admin", site=rig.site)
    page = read(client.get(reverse("reading-changes")).content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    # The colleague said 2 before and after, where the model was above its threshold.
    facts = page.one("section", aria_labelledby="sides").text
    assert "Agreed at first 0 of 1 where both took a side" in facts
    assert "2: benign 1 1 0 0 1" in page.one("section", aria_labelledby="categories").text
    lines = told(client.get(reverse("reading-changes-csv"))).splitlines()
    assert len(lines) == 2
    assert str(rig.case.pk) in lines[1]
    wrong = client.get(reverse("reading-changes"), {"since": "soon"})
    assert wrong.status_code == 422
    page = read(wrong.content)
    assert (csp_faults(page), structure_faults(page)) == ([], [])
    nothing = client.get(reverse("reading-changes"), {"until": "2020-01-01T00:00"})
    assert "Nothing to compare in this time" in read(nothing.content).text


def test_an_unknown_id_is_not_found_where_a_site_reads_first(rig: Rig, sign_in: SignIn) -> None:
    client = sign_in(rig.reader)
    for name in ("api:result-detail", "api:job-detail", "result-heatmap", "case-detail"):
        assert client.get(reverse(name, args=[uuid.uuid4()])).status_code == 404
