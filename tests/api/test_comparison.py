"""A judged model beside the live one, over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from cases.models import Site
from tests.api.contract import Api, problem
from tests.compared import compared, hashes, locked_set
from tests.factories import live_model, make_site, make_token
from tests.gates import make_plan

pytestmark = pytest.mark.django_db


@pytest.fixture
def site(db: None) -> Site:
    live_model()
    return make_site()


@pytest.mark.parametrize("whole", [True, False])
def test_the_comparison_is_told_without_names_of_files(
    whole: bool, site: Site, tmp_path: Path
) -> None:
    run = compared(make_plan(locked_set(tmp_path), site=site), hashes(tmp_path), whole=whole)
    admin = Api(make_token(site=site, roles=["admin"], scopes=["read", "admin"])[1])
    url = f"/models/{run.model_version_id}/comparison/"
    response = admin.get(url)
    told = response.json()
    assert response.status_code == 200
    assert (told["state"], told["n"]) == ("passed", 6)
    assert told["models"]["active"]["version"] == "live-then"
    assert told["confusions"]["candidate"] == [[1, 1, 0, 0, 0], [0, 2, 0, 0, 0], [0, 0, 0, 1, 1]]
    assert [row["sha256"] for row in told["changed"]] == [hashes(tmp_path)[n] for n in (0, 1, 2, 5)]
    assert told["changed"][2]["candidate"] == {"answer": "abstained", "malignant_score": 0.25}
    assert "SMITH" not in response.content.decode()
    assert "<svg" not in response.content.decode()
    if whole:
        assert [part["source"] for part in told["parts"]] == [None, "far", "near"]
    else:
        assert (told["parts"], told["curves"]) == (None, None)
    stranger = Api(make_token(roles=["admin"], scopes=["read", "admin"])[1])
    problem(stranger.get(url), 404, "not_found")
