"""Which pictures of a locked set the comparison shows, and to whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from cases.models import ModelVersion, Site, TrainingSnapshot
from cases.services.locked_pictures import locked_pictures_within_reach
from tests.compared import compared, hashes, locked_set, picture_url
from tests.curation import TAKEN_BACK, accepted, actors, frozen_into, taken_back
from tests.factories import live_model, make_site
from tests.gates import make_plan
from tests.portal.conftest import SignIn

pytestmark = pytest.mark.django_db


def judged_on(site: Site, root: Path) -> tuple[ModelVersion, list[str]]:
    live_model()
    run = compared(make_plan(locked_set(root), site=site), hashes(root))
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


@pytest.mark.parametrize("how", TAKEN_BACK)
def test_a_picture_that_was_taken_back_is_not_shown_and_the_others_are(
    sign_in: SignIn, tmp_path: Path, how: str
) -> None:
    site = make_site()
    live_model()
    reader, admin = actors(site)
    candidate = accepted(reader=reader, admin=admin)
    model, digests = judged_on(site, tmp_path)
    digest = frozen_into(
        TrainingSnapshot.objects.get(name="locked"), candidate, admin=admin, role="locked"
    )
    assert digest == digests[0]
    client = sign_in(role="admin", site=site)
    assert client.get(picture_url(model, digest)).status_code == 200
    taken_back(how, candidate, reader=reader, admin=admin)
    gone = client.get(picture_url(model, digest))
    assert gone.status_code == 404
    assert "may not be shown any more" in gone.content.decode()
    assert client.get(picture_url(model, digests[1])).status_code == 200
    within = locked_pictures_within_reach(actor=admin, model=model, sha256s=digests)
    assert within == set(digests[1:])
