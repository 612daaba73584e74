"""The history of a case in human words: every kind of event has its sentence, and no code shows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cases.access import ActorKind
from cases.models import AuditEvent
from cases.portal.action_words import ACTIONS
from cases.portal.history import entries_of
from cases.portal.wording import action_words
from cases.states import CandidateState, ModelState
from cases.vocabulary import ServingChange

ROOT = Path(__file__).resolve().parents[2]
# What an f-string of an action can become.
VERBS = {
    "candidate.": {"proposed", "accepted", "rejected", "lapsed", "reopened"},
    "identity.": {"closed", "opened"},
    "model.": {state.value.lower() for state in ModelState},
    "serving.": {change.value for change in ServingChange},
    "webhook.": {name.partition(".")[2] for name in ACTIONS if name.startswith("webhook.")},
    "schedule.": {name.partition(".")[2] for name in ACTIONS if name.startswith("schedule.")},
}


def written() -> Iterator[str]:
    """Every action that services and commands write, read from the source."""
    for folder in ("cases/services", "worker", "cases/management", "bcweb"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.keyword) and node.arg == "action":
                    yield from _actions(node.value)


def _actions(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str) and "." in value.value:
        yield value.value
    elif isinstance(value, ast.IfExp):
        yield from _actions(value.body)
        yield from _actions(value.orelse)
    elif isinstance(value, ast.JoinedStr) and isinstance(value.values[0], ast.Constant):
        noun = str(value.values[0].value)
        yield from (f"{noun}{verb}" for verb in VERBS.get(noun, {"?"}))


def test_every_event_that_is_written_has_its_sentence() -> None:
    found = set(written())
    assert len(found) > 40
    assert CandidateState.ACCEPTED.value.lower() in VERBS["candidate."]
    assert found - set(ACTIONS) == set()


@pytest.mark.parametrize("action", sorted(ACTIONS))
def test_no_sentence_shows_a_code(action: str) -> None:
    detail = {"images": 2, "code": "engine_crashed", "outcome": "abstained"}
    words = action_words(action, thing="image 2", detail=detail)
    assert not re.search(r"[a-z]_[a-z]|\.[a-z]|\{|\}", words), words


@pytest.mark.parametrize(
    ("action", "detail", "words"),
    [
        ("job.failed", {"code": "worker_lost"}, "the worker was lost each time it tried"),
        ("job.failed", {"code": "image_corrupt"}, "the image is damaged"),
        ("job.failed", {"code": "of_a_later_version"}, "of a later version"),
        ("finding.added", {"finding": 2}, "named finding 2"),
        ("outcome.recorded", {"finding": 1, "outcome": "x"}, "recorded the outcome of finding 1"),
        ("reading.signed", {"finding": None}, "signed a reading of the case as a whole"),
        (
            "reading.signed",
            {"finding": 2, "after_reveal": False, "ai_seen": False},
            "signed a reading of finding 2 (before the model's answer was shown)",
        ),
        (
            "reading.addendum_signed",
            {"finding": None, "after_reveal": True, "ai_seen": True},
            "signed an addendum to a reading of the case as a whole "
            "(after the model's answer was shown)",
        ),
        (
            "reading.signed",
            {"finding": 1, "ai_seen": False},
            "signed a reading of finding 1 (no answer of the model had been seen)",
        ),
        ("reader_first.on", {"reason": "A study."}, "let the site read first (A study.)"),
    ],
)
def test_what_stands_behind_a_step_is_told(action: str, detail: dict[str, Any], words: str) -> None:
    assert words in action_words(action, thing="", detail=detail)


@pytest.mark.parametrize(
    ("kind", "label", "who", "exact"),
    [
        (ActorKind.USER, "a.reader", "a.reader", ""),
        (ActorKind.TOKEN, "pacs via bcw_AbC12", "pacs (by token)", "bcw_AbC12"),
        (ActorKind.WORKER, "inference@host:1", "The model's worker", "inference@host:1"),
        (ActorKind.SYSTEM, "system", "The service", "system"),
        (ActorKind.COMMAND, "backup", "The command backup", "backup"),
    ],
)
def test_who_did_it_is_told_by_name(kind: ActorKind, label: str, who: str, exact: str) -> None:
    event = AuditEvent(
        actor_kind=kind.value,
        actor_label=label,
        action="case.completed",
        changed_fields=["patient_issuer", "state", "sex"],
    )
    (entry,) = entries_of([event])
    assert (entry.who, entry.fields) == (who, "issuer of the patient id, sex")
    assert entry.label == exact
