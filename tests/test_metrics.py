"""`/metrics`, read by Prometheus' own parser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from django.db import DatabaseError
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from bcweb import metrics
from cases.services.people import actor_for_user
from cases.services.serving import serving_suspend
from ml.refusal_fit import distance_figures
from tests.factories import live_model, make_site, make_token, make_user
from tests.watching import Read, make_examination, spread, store

pytestmark = pytest.mark.django_db

TOKEN = "a-token-for-prometheus-of-40-characters!"


@pytest.fixture(autouse=True)
def counted_anew(settings: Any) -> Iterator[None]:
    settings.BCWEB_METRICS_TOKEN = TOKEN
    metrics.kept.forget()
    yield
    metrics.kept.forget()


def scrape(token: str = TOKEN) -> Any:
    return Client().get("/metrics", headers={"Authorization": f"Bearer {token}"})


def samples() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    response = scrape()
    assert response.status_code == 200
    families = list(text_string_to_metric_families(response.content.decode()))
    assert all(family.documentation for family in families)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def sample(name: str, **labels: str) -> float | None:
    return samples().get((f"bcweb_{name}", frozenset(labels.items())))


def test_a_site_with_answers_is_counted_by_version_outcome_and_label() -> None:
    model, site, other = live_model(), make_site(), make_site()
    reads = [
        *[Read(0.9) for _ in range(5)],
        *[Read(0.1) for _ in range(12)],
        *[Read(outcome="abstained") for _ in range(2)],
        Read(outcome="refused", code="dual_view"),
        Read(0.9, days_ago=50),  # not lately
    ]
    store(make_examination(site), reads)
    store(make_examination(other), [Read(0.1)])
    found = samples()

    def value(name: str, **labels: str) -> float | None:
        return found.get((f"bcweb_{name}", frozenset(labels.items())))

    here = {"version": model.version, "site": site.code}
    assert value("watch_images", **here, outcome="answered", label="malignant") == 5
    assert value("watch_images", **here, outcome="answered", label="benign") == 12
    assert value("watch_images", **here, outcome="abstained", label="") == 2
    assert value("watch_images", **here, outcome="refused", label="") == 1
    assert value("watch_refused_images", **here, reason="dual_view") == 1
    assert value("watch_abstained_ratio", **here) == 0.1
    assert value("watch_refused_ratio", **here) == 0.05
    assert value("watch_days") == 30
    there = {"version": model.version, "site": other.code}
    assert value("watch_images", **there, outcome="answered", label="benign") == 1
    # One image is too few for a share.
    assert value("watch_refused_ratio", **there) is None
    assert value("model_live", version=model.version, sha256=model.sha256) == 1
    assert value("answers_suspended") == 0
    labels = {name for _, pairs in found for name, _ in pairs}
    assert labels <= {
        "version",
        "site",
        "sha256",
        "outcome",
        "label",
        "reason",
        "reference",
        "kind",
        # Of the service itself (test_service_metrics.py).
        "priority",
        "state",
        "le",
        "method",
        "route",
        "status",
    }


def test_a_shift_of_inputs_raises_its_score_and_its_alert() -> None:
    rng = np.random.default_rng(4)
    model, site = live_model(), make_site()
    model.card["refusal"] = {"figures": {"distance": distance_figures(rng.gamma(9, 1 / 9, 900))}}
    model.save()
    here = {"version": model.version, "site": site.code}
    case = make_examination(site)
    store(case, spread(rng.gamma(9, 1 / 9, 200)), model=model)
    calm = sample("watch_drift_index", **here, reference="training")
    assert calm is not None and calm < 0.2
    assert sample("watch_alerts", **here, kind="drift") == 0
    metrics.kept.forget()
    store(case, spread(rng.gamma(9, 2 / 9, 400)), model=model)
    moved = sample("watch_drift_index", **here, reference="training")
    assert moved is not None and moved > 0.5
    # Of all devices together, and of the one there is.
    assert sample("watch_alerts", **here, kind="drift") == 2


def test_suspended_answers_show() -> None:
    live_model()
    serving_suspend(actor=actor_for_user(make_user(roles=["admin"])), reason="Looks wrong.")
    assert sample("answers_suspended") == 1


def test_an_empty_service_answers_too(client: Client) -> None:
    assert sample("answers_suspended") == 0


def test_it_is_for_the_bearer_of_its_own_token_only(settings: Any) -> None:
    assert scrape("another-token-of-at-least-32-characters").status_code == 401
    assert scrape("").status_code == 401
    assert Client().get("/metrics").headers["WWW-Authenticate"].startswith("Bearer")
    # Neither a person nor a token of the API.
    person = Client()
    person.force_login(make_user(roles=["admin"]))
    assert person.get("/metrics").status_code == 401
    assert scrape(make_token(scopes=["admin"], roles=["admin"])[1]).status_code == 401
    assert scrape("ü" * 40).status_code == 401
    assert Client().post("/metrics").status_code == 405
    settings.BCWEB_METRICS_TOKEN = ""
    assert scrape("").status_code == 404
    assert scrape().status_code == 404


def test_it_counts_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    # On a busy machine the looks may be further apart than it keeps what it counted.
    monkeypatch.setattr(metrics, "KEPT_S", 600.0)
    site = make_site()
    case = make_examination(site)
    store(case, [Read() for _ in range(3)])
    first = watched()
    store(case, [Read() for _ in range(3)])
    assert watched() == first
    monkeypatch.setattr(metrics, "KEPT_S", 0.0)
    metrics.kept.forget()
    assert watched() != first


def watched() -> list[str]:
    lines = scrape().content.decode().splitlines()
    return [line for line in lines if line.startswith("bcweb_watch_images")]


def test_a_database_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[Any]:
        raise DatabaseError("gone")

    monkeypatch.setattr(metrics, "SOURCES", [broken])
    response = scrape()
    assert (response.status_code, response.headers["Retry-After"]) == (503, "15")
    assert b"gone" not in response.content
