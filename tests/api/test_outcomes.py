"""Outcomes and research opt-out over HTTP: sent twice is once, conflicts named, scopes kept."""

from __future__ import annotations

import pytest

from cases.models import FindingOutcome, Patient, Site
from tests.api.contract import Api, problem
from tests.factories import make_actor, make_site, make_token, submit

pytestmark = pytest.mark.django_db

SENT = {"pathology": "in_situ", "basis": "histology"}


@pytest.fixture
def patient(site: Site) -> Patient:
    made = submit(actor=make_actor(site=site), patient_id="P-7", laterality="L", clock_position="2")
    return made.case.patient


@pytest.fixture
def path(patient: Patient) -> str:
    return f"/findings/{patient.cases.get().findings.get().pk}/outcomes/"


@pytest.fixture
def pathology(site: Site) -> Api:
    """A pathology system: it records outcomes and sees nothing."""
    return Api(make_token(site=site, scopes=["outcomes"])[1])


def test_an_outcome_sent_twice_is_once(pathology: Api, api: Api, path: str) -> None:
    first = pathology.post(path, SENT)
    assert first.status_code == 201
    told = first.json()
    assert (told["training_label"], told["current"], told["supersedes"]) == (
        "malignant",
        True,
        None,
    )
    again = pathology.post(path, SENT)
    assert (again.status_code, again.json()) == (200, told)
    assert FindingOutcome.objects.count() == 1
    assert api.get(path).json() == [told]
    assert api.get(f"/cases/{told['case']}/").json()["outcomes"] == [told]


def test_another_outcome_needs_a_reason(pathology: Api, api: Api, path: str) -> None:
    first = pathology.post(path, SENT).json()
    other = {"pathology": "high_risk", "basis": "histology"}
    problem(pathology.post(path, other), 409, "state_conflict")
    second = pathology.post(path, {**other, "reason": "Second opinion."})
    assert second.status_code == 201
    assert (second.json()["supersedes"], second.json()["training_label"]) == (first["id"], None)
    assert [row["current"] for row in api.get(path).json()] == [False, True]


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({}, "pathology"),
        ({"pathology": "cancer", "basis": "histology"}, "pathology"),
        ({"pathology": "benign", "basis": "follow_up"}, "stable_from"),
        (
            {
                "pathology": "benign",
                "basis": "follow_up",
                "stable_from": "2024-01-01",
                "stable_until": "2025-12-31",
            },
            "stable_until",
        ),
    ],
)
def test_what_is_no_outcome_names_its_field(
    pathology: Api, path: str, sent: dict[str, str], field: str
) -> None:
    body = problem(pathology.post(path, sent), 422, "field_invalid")
    assert field in body["errors"]
    assert not FindingOutcome.objects.exists()


def test_a_token_without_the_scope_records_nothing(api: Api, path: str) -> None:
    problem(api.post(path, SENT), 403, "permission_denied")
    stranger = Api(make_token(site=make_site(), scopes=["outcomes"])[1])
    problem(stranger.post(path, SENT), 404, "not_found")


def test_a_patient_opts_out_and_in(api: Api, patient: Patient) -> None:
    sent = {"patient_id": "P-7", "opted_out": True}
    for _ in range(2):
        told = api.post("/patients/research-opt-out/", sent)
        assert told.json() == {"patient": str(patient.pk), "research_opt_out": True}
    case = api.get(f"/cases/{patient.cases.get().pk}/").json()
    assert case["patient"]["research_opt_out"] is True
    api.post("/patients/research-opt-out/", {**sent, "opted_out": False})
    patient.refresh_from_db()
    assert patient.research_opt_out is False


def test_an_unknown_patient_or_another_sites_is_not_there(api: Api, patient: Patient) -> None:
    sent = {"patient_id": "P-8", "opted_out": True}
    problem(api.post("/patients/research-opt-out/", sent), 404, "not_found")
    stranger = Api(make_token(site=make_site())[1])
    sent["patient_id"] = "P-7"
    problem(stranger.post("/patients/research-opt-out/", sent), 404, "not_found")
    problem(api.post("/patients/research-opt-out/", {}), 422, "field_invalid")
