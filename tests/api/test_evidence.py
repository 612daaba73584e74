"""`outside_evidence` of cases, images and results."""

from __future__ import annotations

import pytest

from cases.access import Actor
from cases.models import Site
from cases.services.evidence import case_circumstances_state
from cases.vocabulary import Circumstance
from tests.api.contract import Api
from tests.factories import make_actor, stored_result, submit

pytestmark = pytest.mark.django_db


def test_a_case_its_images_and_results_say_what_lies_outside_the_evidence(
    api: Api, site: Site
) -> None:
    actor: Actor = make_actor(roles=["sonographer"], site=site)
    submission = submit(actor=actor, sex="M")
    result = stored_result(submission.jobs.get())
    addresses = [
        f"/cases/{submission.case.pk}/",
        f"/images/{result.image_id}/",
        f"/results/{result.pk}/",
    ]
    etags = []
    for address in addresses:
        response = api.get(address)
        etags.append(response.headers["ETag"])
        assert response.json()["outside_evidence"] == [
            {"flag": "male", "words": "The patient is male."}
        ]
    case_circumstances_state(
        actor=actor, case_id=submission.case.pk, stated={Circumstance.IMPLANT: True}
    )
    # What was stated since is news to who polls with an ETag.
    for address, etag in zip(addresses, etags, strict=True):
        response = api.get(address, If_None_Match=etag)
        assert response.status_code == 200
        codes = [flag["flag"] for flag in response.json()["outside_evidence"]]
        assert codes == ["male", "implant"]
