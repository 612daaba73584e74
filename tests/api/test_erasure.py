"""What the API answers of an erased patient: the case as a tombstone, the bytes as gone."""

from __future__ import annotations

import pytest

from cases.models import Site
from cases.services.erasure import erasure_plan, patient_erase
from tests.api.conftest import answer_waiting
from tests.api.contract import Api, problem
from tests.factories import make_actor, submit

pytestmark = pytest.mark.django_db


def test_an_erased_case_says_so_and_its_bytes_are_gone(api: Api, site: Site) -> None:
    case = submit(actor=make_actor(site=site), patient_id="P-7", accession_number="A1").case
    (result,) = answer_waiting()
    image = f"/images/{result.image_id}/"
    etag = api.get(f"{image}preview/").headers["ETag"]
    assert api.get(f"/cases/{case.pk}/").json()["erased_at"] is None
    admin = make_actor(roles=["admin"], site=site)
    token = erasure_plan(actor=admin, case_id=case.pk).token
    patient_erase(actor=admin, case_id=case.pk, reason="Asked for.", token=token)
    told = api.get(f"/cases/{case.pk}/").json()
    assert told["erased_at"] is not None
    assert (told["patient"], told["accession_number"]) == (None, None)
    assert told["images"][0]["answer"]["results"][0]["heatmap_url"] is None
    assert api.get("/cases/").json()["results"][0]["patient"] is None
    assert api.get(image).json()["sha256"] == ""
    problem(api.get(f"{image}file/"), 410, "erased")
    problem(api.get(f"{image}preview/"), 410, "erased")
    problem(api.get(f"{image}preview/", If_None_Match=etag), 410, "erased")
    problem(api.get(f"/results/{result.pk}/heatmap/"), 410, "erased")
    problem(api.post(f"/jobs/{result.job_id}/rerun/"), 410, "erased")
    problem(api.post(f"/results/{result.pk}/replay/"), 410, "erased")
    sent = {"patient_id": "P-7", "opted_out": True}
    problem(api.post("/patients/research-opt-out/", sent), 404, "not_found")
    assert api.get("/errors/erased/").json()["status"] == 410
