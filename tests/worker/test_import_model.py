"""`manage.py import_model`: a checked file becomes a candidate without a verdict."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from cases.models import AuditEvent, GateVerdict, ModelVersion

pytestmark = pytest.mark.django_db


@pytest.fixture
def model_file(tests_only_model: Path, tmp_path: Path) -> Path:
    for ending in (".safetensors", ".json"):
        shutil.copy(tests_only_model.with_suffix(ending), tmp_path)
    return tmp_path / tests_only_model.name


def run(path: Path) -> str:
    out = io.StringIO()
    call_command("import_model", str(path), stdout=out)
    return out.getvalue()


def test_a_sound_file_becomes_a_candidate_once(model_file: Path) -> None:
    assert run(model_file).startswith("registered tests-only (CANDIDATE)")
    assert run(model_file).startswith("known already: tests-only")
    model = ModelVersion.objects.get()
    assert (model.state, model.card["origin"]) == ("CANDIDATE", "import")
    assert not GateVerdict.objects.exists()
    event = AuditEvent.objects.get(action="model.candidate")
    assert (event.actor_kind, event.actor_label) == ("command", "manage.py import_model")


def test_a_changed_or_missing_file_is_refused_with_a_sentence(model_file: Path) -> None:
    data = bytearray(model_file.read_bytes())
    data[-1] ^= 1
    model_file.write_bytes(data)
    with pytest.raises(CommandError, match="sha256") as refused:
        run(model_file)
    assert refused.value.returncode == 2
    with pytest.raises(CommandError):
        run(model_file.with_name("nowhere.safetensors"))
    assert not ModelVersion.objects.exists()


def test_a_card_that_was_changed_is_refused(model_file: Path) -> None:
    card = model_file.with_suffix(".json")
    told = json.loads(card.read_text())
    told["operating_point"]["threshold"] = 0.99
    card.write_text(json.dumps(told))
    with pytest.raises(CommandError, match="card"):
        run(model_file)
