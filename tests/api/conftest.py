"""Callers of the API, and a folder for uploads that must be empty after every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from cases.models import Result, Site
from cases.services.leases import engine_jobs_claim
from cases.services.results import result_store
from tests.api.contract import Api
from tests.factories import WORKER, answer, live_model, make_site, make_token


@pytest.fixture(autouse=True)
def no_upload_is_left_behind(settings: Any, tmp_path: Path) -> Iterator[None]:
    folder = tmp_path / "uploads"
    folder.mkdir()
    settings.FILE_UPLOAD_TEMP_DIR = str(folder)
    yield
    assert list(folder.iterdir()) == []


@pytest.fixture
def site(db: None) -> Site:
    """The caller's own site, with a model that is live."""
    live_model()
    return make_site()


@pytest.fixture
def api(site: Site) -> Api:
    """An integration's token of `site` that may submit and read."""
    return Api(make_token(site=site)[1])


def answer_waiting(scores: dict[UUID, float] | None = None, **kwargs: Any) -> list[Result]:
    """Answer every waiting job as a worker would; `scores`: malignant score by image."""
    results = []
    for claim in engine_jobs_claim(actor=WORKER, limit=100):
        told = answer((scores or {}).get(claim.image_id, 0.8), **kwargs)
        result = result_store(actor=WORKER, job_id=claim.job_id, attempt=claim.attempt, answer=told)
        assert result is not None
        results.append(result)
    return results
