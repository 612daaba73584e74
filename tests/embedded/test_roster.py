"""What the supervisor starts, with which settings, and what it tells at the end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bcweb.embedded import StartupError, roster
from bcweb.embedded.supervisor import demo_lines

# argv: state, port, JSON list of [name, command, …], JSON of what must be alive.


def test_demo_logins_are_shown_without_the_token(tmp_path: Path) -> None:
    demo = {
        "url": "http://127.0.0.1:8000",
        "radiologist": {"username": "rita", "password": "secret-1"},
        "integration": {"token": "secret-2"},
    }
    (tmp_path / "demo.json").write_text(json.dumps(demo))
    text = "\n".join(demo_lines(tmp_path / "demo.json"))
    assert "rita" in text
    assert "secret-1" in text
    assert "secret-2" not in text
    assert not demo_lines(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, "0"),
        ({"BCWEB_UNDER_MAKE": "1"}, "1"),
        ({"BCWEB_UNDER_MAKE": "1", "BCWEB_DEMO": "0"}, "0"),
        ({"BCWEB_DEMO": "1"}, "1"),
    ],
)
def test_demo_users_are_on_by_default_under_make_only(
    given: dict[str, str], wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BCWEB_UNDER_MAKE", "BCWEB_DEMO"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert roster.environment(tmp_path, "http://127.0.0.1:1")["BCWEB_DEMO"] == wanted


def test_plan_stops_web_first_and_workers_last() -> None:
    plan = roster.plan(host="127.0.0.1", port=8000)
    assert plan.stop_groups == (("web", "beat", "inference", "training", "webhooks"),)
    names = {service.name for service in plan.services}
    assert names == {"web", "beat", "inference", "training", "webhooks"}
    training = next(service for service in plan.services if service.name == "training")
    assert training.nice == 10


def test_wrong_number_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCWEB_WEB_WORKERS", "many")
    with pytest.raises(StartupError, match="BCWEB_WEB_WORKERS is 'many'"):
        roster.plan(host="127.0.0.1", port=8000)
