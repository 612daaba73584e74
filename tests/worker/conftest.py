"""Where most tests of the training worker start: a state folder, a site and its people."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cases.access import Actor
from cases.models import Site
from tests.curation import actors
from tests.factories import make_site
from worker import freezing, training


@pytest.fixture
def state(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of the test's own. Child processes are as urgent as the test that waits."""
    settings.STATE_DIR = tmp_path / "state"
    monkeypatch.setattr(freezing, "NICE", 0)
    monkeypatch.setattr(training, "NICE", 0)
    return tmp_path / "state"


@pytest.fixture
def site(db: None) -> Site:
    return make_site()


@pytest.fixture
def people(site: Site) -> tuple[Actor, Actor]:
    """A radiologist and an administrator of the site."""
    return actors(site)
