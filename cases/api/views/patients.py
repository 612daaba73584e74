"""What systems note of a patient."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response

from cases.access import Capability
from cases.api.base import ApiView
from cases.api.documentation import operation
from cases.api.permissions import any_of
from cases.api.serializers.patients import (
    PatientSearchRequestSerializer,
    PatientsFoundSerializer,
    ResearchOptOutRequestSerializer,
    ResearchOptOutSerializer,
)
from cases.selectors.patients import PatientQuery, patient_by_identity, patient_search
from cases.services.audit import audit_record
from cases.services.consent import patient_research_set


class PatientSearchApi(ApiView):
    required = {"POST": any_of(Capability.VIEW_IDENTITY)}

    @operation(
        summary="Find patients by id, name or accession number",
        description=(
            "A POST although it changes nothing: identity stands in no address, and so in no log. "
            "Each search is in the audit trail with the ids of the records it showed, not with "
            "what was asked. For readers who may see identity."
        ),
        request=PatientSearchRequestSerializer,
        success={200: PatientsFoundSerializer},
        errors=(413, 415, 422),
    )
    def post(self, request: Request) -> Response:
        wanted = self.checked(PatientSearchRequestSerializer, request.data)
        query = PatientQuery(**wanted)
        found = patient_search(actor=self.actor, query=query)
        audit_record(
            actor=self.actor,
            action="patient.searched",
            object_type="patient",
            detail={
                "by": query.fields,
                "found": [str(patient.pk) for patient in found.patients],
                "more": found.more,
            },
        )
        return Response(self.shown(PatientsFoundSerializer, found))


class ResearchOptOutApi(ApiView):
    required = {"POST": any_of(Capability.SUBMIT)}

    @operation(
        summary="Note that a patient opts out of research, or takes part again",
        description=(
            "Sending it twice is once. It counts for training data made from now on. 404 where "
            "the site has no record of this patient."
        ),
        request=ResearchOptOutRequestSerializer,
        success={200: ResearchOptOutSerializer},
        errors=(404, 410, 413, 415, 422),
    )
    def post(self, request: Request) -> Response:
        wanted = self.checked(ResearchOptOutRequestSerializer, request.data)
        found = patient_by_identity(
            actor=self.actor,
            patient_id=wanted["patient_id"],
            issuer=wanted.get("patient_issuer", ""),
        )
        patient = patient_research_set(
            actor=self.actor, patient_id=found.pk, opted_out=wanted["opted_out"]
        )
        return Response(self.shown(ResearchOptOutSerializer, patient))
