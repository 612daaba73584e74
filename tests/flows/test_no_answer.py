"""A refused and an abstained picture from the real engine, through the service, to API and page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.test import Client

from cases.access import SYSTEM
from cases.services.learning import shipped_model_install
from tests.api.contract import Api
from tests.factories import make_site, make_token, make_user
from tests.phantoms import bmode_phantom, png_bytes
from tests.tests_only_model import write_tests_only_model
from worker.engine import EngineOptions
from worker.runner import Runner

pytestmark = [pytest.mark.flow, pytest.mark.django_db]

MINIMUM = 0.9


def doppler() -> bytes:
    """A phantom with a red and blue flow in it."""
    picture = np.repeat(bmode_phantom(41)[:, :, None], 3, axis=2)
    picture[150:230, 180:260] = (230, 40, 0)
    picture[240:300, 200:260] = (0, 60, 240)
    return png_bytes(picture)


def nearly_black() -> bytes:
    return png_bytes(bmode_phantom(42) // 60)


@pytest.fixture(scope="module")
def cautious_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, Any]]:
    """Weights and card of a model that refuses colour and empty frames and abstains else."""
    path: Path = tmp_path_factory.mktemp("cautious model") / "cautious.safetensors"
    card = write_tests_only_model(path, version="cautious", minimum_score=MINIMUM, size=64)
    return path.read_bytes(), card


@pytest.fixture
def runner() -> Iterator[Runner]:
    made = Runner(name="test-worker")
    made.engine.options = EngineOptions(device="cpu", kind="pytorch", threads=1)
    yield made
    made.engine.close()


def words(page: bytes) -> str:
    """What a page says, without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.decode())).split())


def test_refused_and_abstained_pictures_say_so_in_api_and_page(
    cautious_model: tuple[bytes, dict[str, Any]], runner: Runner
) -> None:
    weights, card = cautious_model
    shipped_model_install(actor=SYSTEM, weights=weights, card=card)
    site = make_site()
    api = Api(make_token(site=site)[1])
    files = [
        ("flow.png", doppler()),
        ("black.png", nearly_black()),
        ("b-mode.png", png_bytes(bmode_phantom(43))),
    ]
    sent = api.submit(files, patient_id="NO-ANSWER-1")
    assert sent.status_code == 202, sent.content
    assert runner.drain() == 3
    jobs = [api.get(f"/jobs/{job['id']}/").json() for job in sent.json()["jobs"]]
    assert [job["state"] for job in jobs] == ["SUCCEEDED"] * 3
    coloured, empty, unsure = (job["result"] for job in jobs)

    for result, reason in (
        (coloured, "Colour lies over the picture, as in colour Doppler or elastography."),
        (empty, "The picture is empty or nearly so."),
    ):
        assert result["outcome"] == "refused"
        assert result["reason"].startswith(reason)
        assert result["label"] is result["probabilities"] is result["heatmap_url"] is None
        assert result["model"]["version"] == "cautious"
    assert unsure["outcome"] == "abstained"
    assert unsure["reason"].startswith("The model is too uncertain")
    assert f"{MINIMUM:.2f}" in unsure["reason"]
    assert sum(unsure["probabilities"].values()) == pytest.approx(1, abs=1e-4)
    assert max(unsure["probabilities"].values()) < MINIMUM

    case = sent.json()["case"]["id"]
    summary = api.get(f"/cases/{case}/").json()["summary"]
    assert summary["state"] == "refused"
    reader = Client()
    reader.force_login(make_user(roles=["radiologist"], site=site))
    page = words(reader.get(f"/cases/{case}/").content)
    assert "Colour lies over the picture, as in colour Doppler" in page
    assert "Send the plain B-mode picture." in page
    assert "The picture is empty or nearly so." in page
    assert "The model is too uncertain" in page
    assert "No answer for 3 of 3 images" in page
    assert "0 of 3 images answered" in page
    assert page.count("This is not a negative answer.") == 3
    assert "benign lesion pattern" not in page and "malignant threshold" not in page
