"""The worklist: what a row says, paging, polling."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from cases.access import Actor
from cases.models import AuditEvent, Site
from cases.portal.views import worklist
from cases.services.people import actor_for_user
from tests.factories import answer, make_site, make_user, phantom_jpeg, stored_result, submit
from tests.portal.conftest import SignIn, World, answer_images
from tests.portal.markup import Markup, read

pytestmark = pytest.mark.django_db
URL = "/cases/"


@pytest.fixture
def site() -> Site:
    return make_site()


@pytest.fixture
def actor(site: Site) -> Actor:
    return actor_for_user(make_user(roles=["sonographer"], site=site))


def rows(client: Client, url: str = URL) -> list[str]:
    page = read(client.get(url).content)
    return [tag.text.strip() for tag in page.all("tr")][1:]


def accessions(page: Markup) -> list[str]:
    return [tag.text for tag in page.all("a") if "row-link" in tag.attrs.get("class", "")]


def poll_url(page: Markup) -> str:
    return page.one("div", id="worklist").attrs["hx-get"]


def test_a_row_tells_state_patient_images_and_highest_score(
    actor: Actor, site: Site, sign_in: SignIn
) -> None:
    submission = submit(
        actor=actor,
        files=[phantom_jpeg(), phantom_jpeg(), phantom_jpeg()],
        patient_id="P-1",
        patient_name="Doe^Jane",
        accession_number="A-1",
    )
    answer_images(submission, answer(0.2), answer(0.88), answer(0.3, outcome="abstained"))
    (row,) = rows(sign_in(site=site))
    assert row.startswith("Above the malignant threshold A-1 Doe, Jane P-1 3")
    assert "0.88 in 2 of 3 images answered" in row


def test_a_case_with_an_image_left_unanswered_never_reads_as_below_the_threshold(
    actor: Actor, site: Site, sign_in: SignIn
) -> None:
    submission = submit(actor=actor, files=[phantom_jpeg(), phantom_jpeg()])
    answer_images(submission, answer(0.05), answer(0.05, outcome="refused", reason="No."))
    (row,) = rows(sign_in(site=site))
    assert row.startswith("No answer")
    assert "0.05 in 1 of 2 images answered" in row


def test_patients_are_hidden_from_administrators(world: World, sign_in: SignIn) -> None:
    html = sign_in(role="admin", site=world.site).get(URL).content.decode()
    assert "hidden" in html
    assert "Zebrafish" not in html
    assert "SECRET-ID-77" not in html
    assert "ACC-0815" in html


def test_the_page_shows_the_cases_of_the_own_site_only(world: World, sign_in: SignIn) -> None:
    assert len(rows(sign_in(site=world.site))) == 1
    html = sign_in(site=make_site()).get(URL).content.decode()
    assert "ACC-0815" not in html
    assert "No cases yet" in html


def test_an_empty_worklist_teaches_the_next_step(sign_in: SignIn) -> None:
    page = read(sign_in(role="sonographer").get(URL).content)
    assert "Each case of your site will stand here" in page.text
    assert [a.attrs["href"] for a in page.all("a") if "Submit a case" in a.text] == ["/submit/"]
    page = read(sign_in(role="admin").get(URL).content)
    assert not [a for a in page.all("a") if "Submit a case" in a.text]


def test_paging_goes_down_and_up_without_losing_or_repeating_a_case(
    actor: Actor, site: Site, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worklist, "PAGE_SIZE", 2)
    for number in range(5):
        submit(actor=actor, accession_number=f"A-{number}")
    client = sign_in(site=site)
    page = read(client.get(URL).content)
    assert accessions(page) == ["A-4", "A-3"]
    seen = accessions(page)
    while older := page.all("a", rel="next"):
        # Arrivals do not move what is further down.
        if len(seen) == 2:
            submit(actor=actor, accession_number="A-NEW")
        page = read(client.get(older[0].attrs["href"]).content)
        seen += accessions(page)
    assert seen == ["A-4", "A-3", "A-2", "A-1", "A-0"]
    page = read(client.get(page.one("a", rel="prev").attrs["href"]).content)
    assert accessions(page) == ["A-2", "A-1"]


@pytest.mark.parametrize("name", ["older_than", "newer_than"])
@pytest.mark.parametrize("value", ["nonsense", "00000000-0000-4000-8000-000000000000", "' OR 1=1"])
def test_a_made_up_cursor_is_not_found(name: str, value: str, sign_in: SignIn) -> None:
    assert sign_in().get(URL, {name: value}).status_code == 404


def test_another_sites_case_is_no_cursor(world: World, sign_in: SignIn) -> None:
    client = sign_in(site=make_site())
    assert client.get(URL, {"older_than": str(world.case.pk)}).status_code == 404


def test_a_poll_of_unchanged_rows_brings_nothing_and_leaves_no_trail(
    actor: Actor, site: Site, sign_in: SignIn
) -> None:
    submit(actor=actor)
    client = sign_in(site=site)
    page = read(client.get(URL).content)
    before = AuditEvent.objects.count()
    response = client.get(poll_url(page))
    assert response.status_code == 204
    assert AuditEvent.objects.count() == before


def test_a_look_at_the_list_is_audited_and_its_polls_are_not(
    actor: Actor, site: Site, sign_in: SignIn
) -> None:
    submission = submit(actor=actor)
    client = sign_in(site=site)
    url = poll_url(read(client.get(URL).content))
    stored_result(submission.jobs.get())
    assert client.get(url).status_code == 200
    assert [e.detail for e in AuditEvent.objects.filter(action="case.listed")] == [{"cases": 1}]


def test_a_poll_brings_what_changed_and_slows_down_when_all_is_done(
    actor: Actor, site: Site, sign_in: SignIn
) -> None:
    submission = submit(actor=actor)
    client = sign_in(site=site)
    page = read(client.get(URL).content)
    assert page.one("div", id="worklist").attrs["hx-trigger"] == "every 3s, look"
    stored_result(submission.jobs.get(), 0.77)
    fragment = read(client.get(poll_url(page)).content)
    assert "0.77 in 1 of 1 images answered" in fragment.text
    assert not fragment.all("html")
    assert fragment.one("div", id="worklist").attrs["hx-trigger"] == "every 20s, look"
    assert client.get(poll_url(fragment)).status_code == 204


def test_new_cases_are_announced_and_do_not_push_the_rows_away(
    actor: Actor, site: Site, sign_in: SignIn
) -> None:
    submit(actor=actor, accession_number="A-1")
    client = sign_in(site=site)
    page = read(client.get(URL).content)
    submit(actor=actor, accession_number="A-2")
    fragment = read(client.get(poll_url(page)).content)
    assert accessions(fragment) == ["A-1"]
    assert "1 new case has arrived. Show it" in fragment.text
    assert accessions(read(client.get(URL).content)) == ["A-2", "A-1"]


def test_the_first_case_of_an_empty_worklist_is_announced(
    actor: Actor, site: Site, sign_in: SignIn
) -> None:
    client = sign_in(site=site)
    page = read(client.get(URL).content)
    submit(actor=actor)
    assert "1 new case has arrived" in read(client.get(poll_url(page)).content).text


def test_a_finished_page_further_down_does_not_poll(
    actor: Actor, site: Site, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worklist, "PAGE_SIZE", 1)
    stored_result(submit(actor=actor).jobs.get())
    submit(actor=actor)
    client = sign_in(site=site)
    top = read(client.get(URL).content)
    below = read(client.get(top.one("a", rel="next").attrs["href"]).content)
    assert "hx-get" not in below.one("div", id="worklist").attrs


def test_the_number_of_queries_does_not_grow_with_the_rows(
    actor: Actor, site: Site, sign_in: SignIn
) -> None:
    client = sign_in(site=site)

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as captured:
            assert client.get(URL).status_code == 200
        return len(captured)

    stored_result(submit(actor=actor).jobs.get())
    few = queries()
    for _ in range(6):
        submission = submit(actor=actor, files=[phantom_jpeg(), phantom_jpeg()])
        answer_images(submission, answer(), answer())
    # One of them asks whether answers are suspended, as each page does.
    assert queries() == few <= 15


def test_no_patient_is_named_in_title_or_address(world: World, sign_in: SignIn) -> None:
    client = sign_in(site=world.site)
    for url in (URL, reverse("case-detail", args=[world.case.pk])):
        page = read(client.get(url).content)
        addresses = [
            tag.attrs[key]
            for tag in page.tags
            for key in ("href", "src", "action", "hx-get")
            if key in tag.attrs
        ]
        for place in [page.one("title").text, *addresses]:
            assert not re.search("zebrafish|quilla|secret-id|1961|acc-0815", place, re.I)
