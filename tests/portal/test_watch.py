"""How the models do, as administrators see it and take it away."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from cases.models import Site
from ml.refusal_fit import distance_figures
from tests.factories import live_model, make_site, make_user
from tests.portal.conftest import SignIn
from tests.portal.markup import csp_faults, read, structure_faults, text_of
from tests.watching import Read, make_examination, make_finding, spread, store

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Site:
    return make_site()


@pytest.fixture
def browser(sign_in: SignIn, site: Site) -> Client:
    return sign_in(make_user(roles=["admin"], site=site))


@pytest.fixture
def busy(site: Site) -> Site:
    """A site with answers, refusals, outcomes, and a device whose images have moved."""
    rng = np.random.default_rng(3)
    model = live_model()
    model.card["refusal"] = {"figures": {"distance": distance_figures(rng.gamma(9, 1 / 9, 900))}}
    model.save()
    case = make_examination(site)
    ill = [make_finding(case, "invasive") for _ in range(30)]
    well = [make_finding(case, "benign", "follow_up") for _ in range(30)]
    store(
        case,
        [
            *[Read(0.9, finding=finding) for finding in ill],
            *[Read(0.1, finding=finding) for finding in well],
            *[Read(outcome="refused", code="dual_view") for _ in range(4)],
            *spread(rng.gamma(9, 1 / 9, 80), days_ago=9),
            *spread(rng.gamma(9, 2 / 9, 60), device="=New <scanner>"),
        ],
        model=model,
    )
    return site


def page(browser: Client, **query: str) -> Any:
    return browser.get(reverse("watch"), query)


def test_the_page_tells_figures_with_intervals_and_draws_them(browser: Client, busy: Site) -> None:
    response = page(browser)
    assert response.status_code == 200
    told = read(response.content)
    assert (csp_faults(told), structure_faults(told)) == ([], [])
    text = text_of(response)
    assert "30 of 30" in text and "100 % (89–100)" in text  # sensitivity
    assert "two views 4" in text
    assert "who gets a biopsy is no chance" in text
    assert "Histology or follow-up" in text and "Reader only" not in text
    titles = [tag.attrs["aria-label"] for tag in told.all("svg") if "plot" in tag.attrs["class"]]
    assert len(titles) == 3
    assert titles[1] == "Scores are off by 0.100 on average, 60 images"
    assert "Stability index" in titles[2]
    # Each drawing has its numbers as a table.
    captions = {tag.text.strip() for tag in told.all("caption")}
    assert {
        "What came of the images, by week",
        "Distances of recent images, test-model",
    } <= captions


def test_an_alert_names_the_device_and_what_to_look_for(browser: Client, busy: Site) -> None:
    text = text_of(page(browser))
    assert "alert" in text
    assert "device “=New <scanner>”" in text
    assert "Look for a new scanner, preset or kind of patient" in text
    assert "<scanner>" not in page(browser).content.decode()


def test_nothing_on_it_tells_a_patient(browser: Client, busy: Site) -> None:
    for url in (reverse("watch"), reverse("watch-csv")):
        response = browser.get(url)
        body = response.getvalue().decode() if response.streaming else response.content.decode()
        assert "Watched" not in body  # the patients' name
        assert "tests" not in body  # the issuer of their ids


def test_an_empty_selection_teaches(browser: Client) -> None:
    assert "No answers in this selection" in text_of(page(browser))


def test_filters_narrow_the_page_and_stay_in_the_form(browser: Client, busy: Site) -> None:
    response = page(browser, device="=New <scanner>", since="2020-01-01T00:00")
    told = read(response.content)
    rows = [tag.text for tag in told.all("tr")]
    assert any("60" in row for row in rows) and not any("Acme" in row for row in rows)
    chosen = [tag.text for tag in told.all("option") if "selected" in tag.attrs]
    assert chosen == ["=New <scanner>"]
    assert told.one("input", id="since").attrs["value"] == "2020-01-01T00:00"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"since": "yesterday"}, "Enter a date and a time"),
        ({"version": "newest"}, "Choose a version of the list"),
        ({"since": "2026-02-01T00:00", "until": "2026-01-01T00:00"}, "after the first one"),
    ],
)
def test_what_is_no_filter_is_named(browser: Client, query: dict[str, str], words: str) -> None:
    response = page(browser, **query)
    assert response.status_code == 422
    assert words in text_of(response)
    told = read(response.content)
    assert (csp_faults(told), structure_faults(told)) == ([], [])
    assert browser.get(reverse("watch-csv"), query).status_code == 422


def test_a_version_that_never_was_is_not_found(browser: Client) -> None:
    assert page(browser, version="00000000-0000-4000-8000-000000000000").status_code == 404


def test_the_csv_has_one_figure_a_line(browser: Client, busy: Site) -> None:
    response = browser.get(reverse("watch-csv"))
    assert response.headers["Content-Type"].startswith("text/csv")
    assert 'filename="watch-' in response.headers["Content-Disposition"]
    lines = list(csv.DictReader(io.StringIO(response.getvalue().decode())))
    assert {line["site"] for line in lines} == {busy.code}
    # A name that a spreadsheet would take for a formula stays a word.
    assert {line["device"] for line in lines} == {"all", "Acme", "'=New <scanner>"}
    sensitivity = next(
        line
        for line in lines
        if (line["measure"], line["basis"], line["device"]) == ("sensitivity", "verified", "all")
    )
    assert (sensitivity["count"], sensitivity["n"], sensitivity["value"]) == ("30", "30", "1.0")
    assert float(sensitivity["low95"]) == pytest.approx(0.8865, abs=1e-4)
    refused = [line for line in lines if line["measure"] == "refused" and line["of"]]
    assert {line["of"] for line in refused} == {"dual_view"}
    assert {"drift_psi", "drift_beyond_p95", "calibration_error", "calibration_bin"} <= {
        line["measure"] for line in lines
    }


def test_it_is_linked_for_administrators_only(browser: Client, sign_in: SignIn, busy: Site) -> None:
    model = live_model()
    for url in (reverse("model-list"), reverse("model-detail", args=[model.pk])):
        assert reverse("watch") in browser.get(url).content.decode()
        other = sign_in(role="radiologist", site=busy)
        assert reverse("watch") not in other.get(url).content.decode()


def test_another_sites_figures_are_not_seen(sign_in: SignIn, busy: Site) -> None:
    elsewhere = sign_in(role="admin", site=make_site())
    assert "No answers in this selection" in text_of(page(elsewhere))
    assert len(elsewhere.get(reverse("watch-csv")).getvalue().decode().splitlines()) == 1
