"""The worklist: what a row says, paging, polling."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from cases.access import Actor
from cases.models import AuditEvent, Case, Site
from cases.portal.views import worklist
from cases.services.people import actor_for_user
from cases.services.readings import Place, reading_content_parse, reading_draft_save
from tests.factories import (
    answer,
    make_actor,
    make_site,
    make_user,
    phantom_jpeg,
    stored_result,
    submit,
)
from tests.phantoms import dicom_bytes
from tests.portal.conftest import SignIn, World, answer_images
from tests.portal.markup import Markup, read
from tests.portal.signing import sign
from tests.told import tells

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
    assert row.startswith(
        "Tick A-1 Processed A-1 3 images Doe, Jane P-1 Above the malignant threshold"
    )
    assert "highest 0.88 in 2 of 3 images answered Not signed A site" in row


def test_a_case_with_an_image_left_unanswered_never_reads_as_below_the_threshold(
    actor: Actor, site: Site, sign_in: SignIn
) -> None:
    submission = submit(actor=actor, files=[phantom_jpeg(), phantom_jpeg()])
    answer_images(submission, answer(0.05), answer(0.05, outcome="refused", reason="No."))
    (row,) = rows(sign_in(site=site))
    assert "No answer for 1 of 2 images" in row
    assert "the image was refused" not in row
    assert "highest 0.05 in 1 of 2 images answered" in row


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
    page = read(client.get(URL, {"order": "newest"}).content)
    assert accessions(page) == ["A-4", "A-3"]
    seen = accessions(page)
    while older := page.all("a", rel="next"):
        # Arrivals do not move what is further down.
        if len(seen) == 2:
            submit(actor=actor, accession_number="A-NEW")
        page = read(client.get(URL + older[0].attrs["href"].removeprefix(URL)).content)
        seen += accessions(page)
    assert seen == ["A-4", "A-3", "A-2", "A-1", "A-0"]
    page = read(client.get(page.one("a", rel="prev").attrs["href"]).content)
    assert accessions(page) == ["A-2", "A-1"]


def test_unread_cases_come_before_read_ones_then_urgent_ones_then_the_oldest(
    actor: Actor, site: Site, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = make_actor(site=site)
    for name, priority in (("OLD", "routine"), ("READ", "stat"), ("URG", "urgent")):
        submit(actor=actor, accession_number=name, priority=priority)
    for name, priority in (("NEW", "routine"), ("STAT", "stat")):
        submit(actor=actor, accession_number=name, priority=priority)
    sign(reader, Case.objects.get(accession_number="READ"))
    client = sign_in(site=site)
    order = ["STAT", "URG", "OLD", "NEW", "READ"]
    assert accessions(read(client.get(URL).content)) == order
    monkeypatch.setattr(worklist, "PAGE_SIZE", 2)
    seen, page = [], read(client.get(URL).content)
    while True:
        seen += accessions(page)
        if len(seen) == 2:
            # The last case of this page moves away; the next page begins where it ended.
            sign(reader, Case.objects.get(accession_number="URG"))
        after = page.all("a", rel="next")
        if not after:
            break
        page = read(client.get(after[0].attrs["href"]).content)
    # It comes again where it stands now, and no other is lost or repeated.
    assert seen == ["STAT", "URG", "OLD", "NEW", "URG", "READ"]


def test_the_order_by_score_puts_cases_without_one_last(
    actor: Actor, site: Site, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worklist, "PAGE_SIZE", 1)
    for name, score in (("LOW", 0.1), ("HIGH", 0.9)):
        stored_result(submit(actor=actor, accession_number=name).jobs.get(), score)
    submit(actor=actor, accession_number="NONE")
    client, seen, url = sign_in(site=site), [], f"{URL}?order=score"
    while url:
        page = read(client.get(url).content)
        seen += accessions(page)
        after = page.all("a", rel="next")
        url = after[0].attrs["href"] if after else ""
    assert seen == ["HIGH", "LOW", "NONE"]


def test_a_made_up_cursor_is_not_found(sign_in: SignIn) -> None:
    client, none = sign_in(), "0" * 32
    for value in (
        *("nonsense", "' OR 1=1", "worklist", "worklist_0_1", f"newest_1_{none}"),
        *(f"worklist_0_x_{none}", f"worklist_0_99999999999999999999_{none}"),
        *("worklist_0_1_0", f"worklist_-1_1_{none}", "worklist_0_1_\x00"),
    ):
        for name in ("after", "before"):
            assert (value, client.get(URL, {name: value}).status_code) == (value, 404)
    for score in ("nan", "inf", "2", "1e400", ""):
        query = {"order": "score", "after": f"score_{score}_{none}"}
        assert (score, client.get(URL, query).status_code) == (score, 404)
    late = {"order": "newest", "after": f"newest_{'9' * 25}_{none}"}
    assert client.get(URL, late).status_code == 404


def test_who_reads_and_who_has_signed_stands_in_the_row(
    actor: Actor, site: Site, sign_in: SignIn
) -> None:
    case = submit(actor=actor).case
    first, second = (
        make_user(roles=["radiologist"], site=site, username=name) for name in ("ada", "bea")
    )
    client = sign_in(first)
    assert "Not signed" in rows(client)[0]
    content = reading_content_parse({"category": "2"})
    reading_draft_save(
        actor=actor_for_user(second), case_id=case.pk, place=Place(), content=content, version=0
    )
    assert "Being read by bea" in rows(client)[0]
    sign(actor_for_user(first), case)
    assert "Signed by you Being read by bea" in rows(client)[0]
    assert "Signed by ada Being read by you" in rows(sign_in(second))[0]


def test_the_device_stands_in_the_row(actor: Actor, site: Site, sign_in: SignIn) -> None:
    submit(actor=actor, files=[dicom_bytes()], patient_id="")
    assert "Phantom Works Echo 1 A site" in rows(sign_in(site=site))[0]


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
    assert "malignant score 0.77" in fragment.text
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
    assert accessions(read(client.get(URL, {"order": "newest"}).content)) == ["A-2", "A-1"]


def test_the_first_case_of_an_empty_worklist_is_announced(
    actor: Actor, site: Site, sign_in: SignIn
) -> None:
    client = sign_in(site=site)
    page = read(client.get(URL).content)
    submit(actor=actor)
    assert "1 new case has arrived" in read(client.get(poll_url(page)).content).text


def test_a_page_further_down_is_renewed_but_says_nothing_of_arrivals(
    actor: Actor, site: Site, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worklist, "PAGE_SIZE", 1)
    stored_result(submit(actor=actor).jobs.get())
    stored_result(submit(actor=actor).jobs.get())
    client = sign_in(site=site)
    top = read(client.get(URL).content)
    below = read(client.get(top.one("a", rel="next").attrs["href"]).content)
    submit(actor=actor)
    assert below.one("div", id="worklist").attrs["hx-trigger"] == "every 20s, look"
    assert client.get(poll_url(below)).status_code == 204
    assert "1 new case has arrived" in read(client.get(poll_url(top)).content).text


def test_rows_stay_in_place_when_they_no_longer_fit_the_filter(
    actor: Actor, site: Site, sign_in: SignIn
) -> None:
    submission = submit(actor=actor, accession_number="A-1")
    client = sign_in(site=site)
    page = read(client.get(URL, {"state": "waiting"}).content)
    stored_result(submission.jobs.get())
    fragment = read(client.get(poll_url(page)).content)
    assert accessions(fragment) == ["A-1"]
    assert "Processed" in fragment.text
    # What comes in and does not fit is not told.
    stored_result(submit(actor=actor).jobs.get())
    assert client.get(poll_url(fragment)).status_code == 204
    submit(actor=actor)
    assert "1 new case has arrived" in read(client.get(poll_url(fragment)).content).text


def test_a_poll_for_what_is_not_there_is_not_found(sign_in: SignIn) -> None:
    client = sign_in()
    for query in (
        *({"ids": "nonsense"}, {"ids": "0" * 32}, {"number": "-1"}, {"number": "9" * 30}),
        {"state": "nowhere"},
    ):
        assert (query, client.get(f"{URL}rows/", query).status_code) == (query, 404)


def test_a_poll_never_brings_another_sites_rows(world: World, sign_in: SignIn) -> None:
    client = sign_in(site=make_site())
    assert client.get(f"{URL}rows/", {"ids": world.case.pk.hex}).status_code == 404


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
    # The first look after a change also folds it into the list.
    queries()
    stored_result(submit(actor=actor).jobs.get())
    assert few - 4 <= queries() <= few <= 30
    assert queries() == queries() <= 21


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
            assert not re.search("zebrafish|quilla|secret-id|acc-0815", place, re.I)
            assert not tells(place, "1961")


def test_a_full_page_with_all_it_loads_stays_under_150_kilobytes(
    actor: Actor, site: Site, sign_in: SignIn
) -> None:
    client = sign_in(site=site)

    def weight(html: str) -> int:
        return len(html.encode())

    for number in range(2):
        submission = submit(actor=actor, priority="urgent", patient_name="Doe-Longname^Johanna")
        stored_result(submission.jobs.get(), 0.8)
        sign(make_actor(site=site), submission.case)
        html = client.get(URL).content.decode()
        if number == 0:
            one = weight(html)
    two = weight(html)
    page = read(html)
    addresses = [tag.attrs["href"] for tag in page.all("link")]
    addresses += [tag.attrs["src"] for tag in page.all("script")]
    static = [address for address in addresses if address.startswith("/static/")]
    files = [finders.find(address.removeprefix("/static/")) for address in static]
    # Packed, as WhiteNoise sends them; pages are not, for what is secret in them, and neither are
    # the words of scripts.
    loaded = sum(len(gzip.compress(Path(str(file)).read_bytes())) for file in files)
    loaded += sum(len(client.get(a).content) for a in addresses if a not in static)
    row = two - one
    total = one + (worklist.PAGE_SIZE - 1) * row + loaded
    print(f"{row} bytes a row, {one - row} around them, {loaded} loaded, {total} in all")
    assert total < 150_000
