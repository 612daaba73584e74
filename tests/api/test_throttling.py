"""So many requests a minute: per caller, uploads apart, and never for want of Redis."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import cache
from structlog.testing import capture_logs

from cases.api import throttling
from cases.models import Site
from tests.api.contract import Api, problem
from tests.factories import make_token, make_user, phantom_jpeg

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def one_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """All within one minute, 20 s before its end, and heard by Redis."""
    monkeypatch.setattr(throttling, "_silent_until", 0.0)
    monkeypatch.setattr(throttling.time, "time", lambda: 60 * 29_000_000 + 40.0)


def test_a_token_that_asks_too_often_is_told_when_to_come_back(
    site: Site, api: Api, settings: Any
) -> None:
    settings.BCWEB_THROTTLE = 3
    for _ in range(3):
        assert api.get("/cases/").status_code == 200
    refused = api.get("/jobs/")
    problem(refused, 429, "throttled")
    assert refused.headers["Retry-After"] == "20"
    # Another token of the same site is another caller.
    assert Api(make_token(site=site)[1]).get("/cases/").status_code == 200


def test_uploads_are_counted_apart(api: Api, settings: Any) -> None:
    settings.BCWEB_THROTTLE, settings.BCWEB_THROTTLE_UPLOADS = 2, 1
    assert api.submit([phantom_jpeg()], patient_id="A").status_code == 202
    problem(api.submit([phantom_jpeg()], patient_id="A"), 429, "throttled")
    # Listing them is no upload.
    assert api.get("/submissions/").status_code == 200
    assert api.get("/submissions/").status_code == 200
    problem(api.get("/submissions/"), 429, "throttled")


def test_the_next_minute_begins_anew(
    api: Api, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.BCWEB_THROTTLE = 1
    assert api.get("/cases/").status_code == 200
    problem(api.get("/cases/"), 429, "throttled")
    monkeypatch.setattr(throttling.time, "time", lambda: 60 * 29_000_001 + 1.0)
    assert api.get("/cases/").status_code == 200


def test_a_person_is_counted_as_one_whatever_the_session(site: Site, settings: Any) -> None:
    from django.test import Client

    settings.BCWEB_THROTTLE = 1
    user = make_user(roles=["radiologist"], site=site)
    clients = [Client(), Client()]
    for client in clients:
        client.force_login(user)
    assert Api(client=clients[0]).get("/cases/").status_code == 200
    problem(Api(client=clients[1]).get("/cases/"), 429, "throttled")


def test_nobody_is_counted_where_that_is_switched_off(api: Api, settings: Any) -> None:
    settings.BCWEB_THROTTLE = 0
    cache.clear()
    for _ in range(3):
        assert api.get("/cases/").status_code == 200
    assert cache.get(f"throttle:requests:{make_token()[0].pk}:29000000") is None


def test_without_redis_everybody_is_let_in_and_the_log_says_so(
    api: Api, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the requests may take longer than the silence.
    monkeypatch.setattr(throttling, "SILENCE_S", 600.0)
    settings.BCWEB_THROTTLE = 1
    settings.CACHES = {
        "default": {**settings.CACHES["default"], "LOCATION": "redis://127.0.0.1:1/0"}
    }
    with capture_logs() as lines:
        for _ in range(3):
            assert api.get("/cases/").status_code == 200
    # Once in a while, not for every request.
    assert [line["event"] for line in lines if line["event"] == "throttle_off"] == ["throttle_off"]
