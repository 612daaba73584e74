"""Which pictures of a locked set the comparison shows, and to whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from cases.models import ModelVersion, Site, TrainingSnapshot
from tests.factories import live_model, make_site
from tests.gates import make_plan
from tests.portal.conftest import SignIn
from tests.portal.test_comparison import hashes, judged, locked_set, picture_url

pytestmark = pytest.mark.django_db


def judged_on(site: Site, root: Path) -> tuple[ModelVersion, list[str]]:
    live_model()
    run = judged(make_plan(locked_set(root), site=site), hashes(root))
    assert run.model_version is not None
    return run.model_version, hashes(root)


def test_patients_of_another_site_are_not_shown_by_a_plan_of_before(
    sign_in: SignIn, tmp_path: Path
) -> None:
    site = make_site()
    model, digests = judged_on(site, tmp_path)
    client = sign_in(role="admin", site=site)
    for whose, status in ((site, 200), (make_site(), 404)):
        TrainingSnapshot.objects.update(role="locked", site=whose)
        assert client.get(picture_url(model, digests[0])).status_code == status
