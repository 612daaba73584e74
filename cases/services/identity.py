"""Whose image is it: the form and the DICOM header brought together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from cases.errors import IdentityMismatch
from cases.intake import DicomFacts
from cases.services.fields import SubmissionFields


@dataclass(frozen=True)
class Identity:
    """Patient and study as far as form and headers tell. Empty: not told."""

    patient_id: str = ""
    patient_issuer: str = ""
    patient_name: str = ""
    birth_date: date | None = None
    sex: str = ""
    accession_number: str = ""
    accession_issuer: str = ""
    study_instance_uid: str = ""

    @classmethod
    def from_fields(cls, fields: SubmissionFields) -> Identity:
        return cls(
            patient_id=fields.patient_id,
            patient_issuer=fields.patient_issuer,
            patient_name=fields.patient_name,
            birth_date=fields.birth_date,
            sex=fields.sex,
            accession_number=fields.accession_number,
            accession_issuer=fields.accession_issuer,
        )


# What must agree wherever both sides tell it (contract: identity_mismatch).
_MUST_AGREE = {
    "patient_id": "patient id",
    "patient_issuer": "issuer of the patient id",
    "birth_date": "date of birth",
    "accession_number": "accession number",
    "accession_issuer": "issuer of the accession number",
}
_FILLED_IN = (
    "patient_id",
    "patient_issuer",
    "patient_name",
    "birth_date",
    "sex",
    "accession_number",
    "accession_issuer",
)


def told_fields(identity: Identity) -> frozenset[str]:
    """The identifying fields that ``identity`` tells."""
    return frozenset(name for name in _MUST_AGREE if getattr(identity, name))


def identity_merge(
    identity: Identity, dicom: DicomFacts, *, file: str, form_fields: frozenset[str]
) -> tuple[Identity, list[str]]:
    """``identity`` with what the header adds, and the fields in which the form overrode it.

    ``form_fields``: fields a person keeps although a header differs (empty: none). Raises
    ``IdentityMismatch`` (naming the fields, never their values) where form and header disagree
    otherwise, and always where two headers disagree: no reason makes two patients one.
    """
    header = dicom.identity
    differing = [
        name
        for name in _MUST_AGREE
        if getattr(identity, name)
        and getattr(header, name)
        and getattr(identity, name) != getattr(header, name)
    ]
    if not form_fields.issuperset(differing):
        named = ", ".join(_MUST_AGREE[name] for name in differing)
        raise IdentityMismatch(
            f"The DICOM header disagrees with what was entered: {named}. "
            "Check that the file belongs to this patient.",
            file=file,
            errors={name: ["Differs from the DICOM header."] for name in differing},
        )
    if differing:
        # A header about someone else fills in nothing: its study is not this patient's either.
        return identity, differing
    added = {
        name: getattr(header, name)
        for name in _FILLED_IN
        if not getattr(identity, name) and getattr(header, name)
    }
    if not identity.study_instance_uid and dicom.study_instance_uid:
        added["study_instance_uid"] = dicom.study_instance_uid
    return replace(identity, **added), []
