"""Pages in the reader's language; the API and files for programs in English whoever asks."""

from __future__ import annotations

import csv
import io

import pytest
from django.test import Client
from django.urls import reverse

from cases.models import AuditEvent, Site, Submission
from tests.factories import live_model, make_site, make_token, phantom_jpeg
from tests.portal.conftest import SignIn, World
from tests.portal.markup import Markup, read
from tests.portal.pages import url_of
from tests.portal.submitting import file, post

pytestmark = pytest.mark.django_db
GERMAN = {"HTTP_ACCEPT_LANGUAGE": "de-AT,de;q=0.9,en;q=0.5"}
CHOOSE = "/language/"


@pytest.fixture
def site() -> Site:
    live_model()
    return make_site()


def german(client: Client, url: str) -> Markup:
    response = client.get(url, **GERMAN)
    assert response.headers["Content-Language"] == "de"
    assert "Accept-Language" in response.headers["Vary"]
    page = read(response.content)
    assert page.one("html").attrs["lang"] == "de"
    return page


def test_who_asks_for_no_language_or_one_that_is_not_there_reads_english(client: Client) -> None:
    for asked in ("", "fr", "xx;q=nonsense"):
        response = client.get("/sign-in/", HTTP_ACCEPT_LANGUAGE=asked)
        page = read(response.content)
        assert page.one("html").attrs["lang"] == "en"
        assert page.one("h1").text == "Sign in"


def test_the_sign_in_page_and_its_refusal_speak_german(client: Client) -> None:
    page = german(client, "/sign-in/")
    assert page.one("h1").text == "Anmelden"
    assert "Forschungssoftware, kein Medizinprodukt." in page.text
    typed = {"username": "nobody", "password": "no password"}
    refused = read(client.post("/sign-in/", typed, **GERMAN).content)
    assert "Benutzername und Passwort passen nicht zusammen." in refused.text


def test_a_chosen_language_outlasts_what_the_browser_asks_for(client: Client) -> None:
    response = client.post(CHOOSE, {"language": "de", "next": "/sign-in/"})
    assert response.headers["Location"] == "/sign-in/"
    cookie = client.cookies["django_language"]
    assert cookie["httponly"] and cookie["samesite"] == "Lax"
    page = read(client.get("/sign-in/", HTTP_ACCEPT_LANGUAGE="en").content)
    assert page.one("h1").text == "Anmelden"
    client.post(CHOOSE, {"language": "en", "next": "/sign-in/"})
    page = read(client.get("/sign-in/", **GERMAN).content)
    assert page.one("h1").text == "Sign in"


def test_a_choice_leads_to_no_other_site_and_to_no_unknown_language(client: Client) -> None:
    response = client.post(CHOOSE, {"language": "tlh", "next": "https://elsewhere.example/"})
    assert response.headers["Location"] == "/"
    assert "django_language" not in client.cookies


def test_each_page_offers_the_languages_by_their_own_names(client: Client) -> None:
    page = german(client, "/sign-in/")
    offered = {
        tag.attrs["value"]: tag for tag in page.all("button") if tag.attrs.get("name") == "language"
    }
    assert {code: tag.text for code, tag in offered.items()} == {"en": "English", "de": "Deutsch"}
    assert offered["de"].attrs["aria-current"] == "true"
    assert offered["en"].attrs["lang"] == "en"


def test_the_worklist_speaks_german_with_names_dates_and_numbers(
    world: World, sign_in: SignIn
) -> None:
    page = german(sign_in(site=world.site), "/cases/")
    assert page.one("h1").text == "Arbeitsliste"
    for words in ("Über der Schwelle für maligne", "1 Bild", "Verarbeitet", "Nicht signiert"):
        assert words in page.text, words
    assert "0,8" in page.text
    assert "0.8" not in page.text
    assert "Dringend" in page.text


def test_the_case_page_speaks_german_and_the_timeline_too(world: World, sign_in: SignIn) -> None:
    page = german(sign_in(site=world.site), url_of(world.case))
    for words in (
        "Das Modell bewertet dieses Bild über seiner Malignitätsschwelle.",
        "Gewebezusammensetzung",
        "Heterogene Echotextur",
        "4B: mäßiger Verdacht",
        "hat den Fall angelegt",
        "Wie das zu lesen ist",
    ):
        assert words.lower() in page.text.lower(), words
    for left in ("Not stated", "Read the image", "The model", "Show heatmap"):
        assert left not in page.text, left


def test_the_report_and_its_pdf_are_made_in_german(world: World, sign_in: SignIn) -> None:
    client = sign_in(site=world.site)
    page = german(client, reverse("case-report", args=[world.case.pk]))
    assert "Was Menschen befundet haben" in page.text
    pdf = client.get(reverse("case-report-pdf", args=[world.case.pk]), **GERMAN)
    assert pdf.content.startswith(b"%PDF")


def test_the_account_page_speaks_german(sign_in: SignIn) -> None:
    page = german(sign_in(), "/account/")
    assert "Wo Sie angemeldet sind" in page.text
    assert "Passwort ändern" in page.text


def test_a_refused_submission_says_why_in_german(world: World, sign_in: SignIn) -> None:
    client = sign_in(role="sonographer", site=world.site)
    assert german(client, "/submit/").one("h1").text == "Fall einreichen"
    client.cookies["django_language"] = "de"
    page = read(post(client, file(b"", "empty.jpg"), patient_id="P-9").content)
    assert "Die Datei enthält keine Daten." in page.text
    page = read(post(client, file(), patient_id="P-9", clock_position="13").content)
    assert "Uhrzeitposition: Eine ganze Zahl von 1 bis 12." in page.text


def test_messages_after_a_form_are_german(world: World, sign_in: SignIn) -> None:
    client = sign_in(role="radiologist", site=world.site)
    url = reverse("research-opt-out", args=[world.case.pk])
    page = read(client.post(url, {"opted_out": "1"}, follow=True, **GERMAN).content)
    assert "Vermerkt: Die Bilder der Patientin gehen ab jetzt in keine Trainingsdaten ein." in (
        page.text
    )


def test_an_error_page_speaks_german(client: Client) -> None:
    response = client.get("/there-is-no-such-page/", **GERMAN)
    assert response.status_code == 404
    assert read(response.content).one("h1").text == "Nicht gefunden"


def test_the_api_says_the_same_in_every_language(world: World) -> None:
    token = make_token(scopes=["read"], site=world.site)[1]
    headers = {"HTTP_AUTHORIZATION": f"Bearer {token}"}
    client = Client()
    client.cookies["django_language"] = "de"
    url = f"/api/v1/cases/{world.case.pk}/"
    plain = client.get(url, **headers)
    asked = client.get(url, **headers, **GERMAN)
    assert asked.json() == plain.json()
    assert asked.json()["research_note"].startswith("Research software")
    assert "Accept-Language" not in asked.headers["Vary"]
    refused = client.get("/api/v1/cases/", **GERMAN)
    assert refused.json()["code"] == "not_authenticated"
    assert refused.json()["detail"] == "Sign in, or send a valid access token."


def test_csv_is_the_same_in_every_language(world: World, sign_in: SignIn) -> None:
    client = sign_in(site=world.site)
    form = {"act": "csv", "case": [str(world.case.pk)]}
    url = reverse("worklist-bulk")
    english = client.post(url, form).content.decode()
    assert client.post(url, form, **GERMAN).content.decode() == english
    (row,) = csv.DictReader(io.StringIO(english))
    assert row["answer"] == "above"
    assert "images answered" in row["coverage"]


def test_what_is_stored_is_english_whoever_sends_it(sign_in: SignIn, site: Site) -> None:
    client = sign_in(role="sonographer", site=site)
    client.cookies["django_language"] = "de"
    response = post(
        client, file(phantom_jpeg()), file(b"", "empty.jpg"), patient_id="P-1", on_bad_file="skip"
    )
    page = read(client.get(response.headers["Location"]).content)
    assert "Die Datei enthält keine Daten." in page.text
    (skipped,) = Submission.objects.get().skipped
    assert skipped["detail"].startswith("The file holds no data.")
    assert not [e for e in AuditEvent.objects.all() if "Datei" in str(e.detail)]


def test_scripts_get_their_words_as_a_file_in_the_language_of_the_page(client: Client) -> None:
    page = german(client, "/sign-in/")
    (url,) = [t.attrs["src"] for t in page.all("script") if "/language/" in t.attrs.get("src", "")]
    response = client.get(url)
    assert response.headers["Content-Type"].startswith("text/javascript")
    assert "immutable" in response.headers["Cache-Control"]
    assert "Fall angekreuzt" in response.content.decode()
    english = client.get(url.replace("/de-", "/en-"))
    assert "Fall angekreuzt" not in english.content.decode()
    assert "immutable" not in english.headers.get("Cache-Control", "")
    assert client.get(url.replace("/de-", "/tlh-")).status_code == 404
