"""Whose image is it: the form and the DICOM header brought together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from cases.errors import IdentityMismatch
from cases.intake import DicomFacts, DicomIdentity
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
# Told only by a header that carries the patient id: whose name would it be otherwise?
_OF_THE_PATIENT = ("patient_issuer", "patient_name", "birth_date", "sex")
_OF_THE_STUDY = ("accession_number", "accession_issuer")


@dataclass(frozen=True)
class Header:
    """The DICOM header of a file, with the file's place in the submission and its name."""

    position: int
    file: str
    dicom: DicomFacts


@dataclass(frozen=True)
class Told:
    """What form and headers say together.

    ``overridden``: fields in which the form was kept over a header; ``overruled``: places of
    the files whose headers these were (they say nothing of patient or study any more).
    """

    identity: Identity
    studies: tuple[str, ...]
    overridden: frozenset[str]
    overruled: frozenset[int]


def identity_told(form: Identity, headers: Sequence[Header], *, keep_form: bool) -> Told:
    """Bring the form and the headers of its files together.

    Raises ``IdentityMismatch`` (naming fields, never values) where a header disagrees with the
    form, unless a person keeps the form; and always where two headers disagree with each other:
    no reason makes two patients one.
    """
    overridden: set[str] = set()
    overruled: set[int] = set()
    heard: list[Header] = []
    for header in headers:
        differing = _differing(form, header.dicom.identity)
        if differing and not keep_form:
            raise IdentityMismatch(
                f"The DICOM header disagrees with what was entered: {_named(differing)}. "
                "Check that the file belongs to this patient.",
                file=header.file,
                errors={name: ["Differs from the DICOM header."] for name in differing},
            )
        if differing:
            overridden.update(differing)
            overruled.add(header.position)
        else:
            heard.append(header)
    _refuse_disagreement(heard)
    identity = _filled(form, [header.dicom.identity for header in heard])
    studies = tuple(dict.fromkeys(h.dicom.study_instance_uid for h in heard))
    return Told(
        identity=identity,
        studies=tuple(study for study in studies if study),
        overridden=frozenset(overridden),
        overruled=frozenset(overruled),
    )


def _differing(one: Identity | DicomIdentity, other: DicomIdentity) -> list[str]:
    """Names of the fields that both tell, differently."""
    return [
        name
        for name in _MUST_AGREE
        if getattr(one, name)
        and getattr(other, name)
        and getattr(one, name) != getattr(other, name)
    ]


def _named(fields: Sequence[str]) -> str:
    return ", ".join(_MUST_AGREE[name] for name in fields)


def _refuse_disagreement(headers: Sequence[Header]) -> None:
    for index, one in enumerate(headers):
        for other in headers[index + 1 :]:
            differing = _differing(one.dicom.identity, other.dicom.identity)
            if differing:
                raise IdentityMismatch(
                    f"The DICOM headers of two files disagree: {_named(differing)}. "
                    "Submit the files of each examination separately.",
                    file=other.file,
                )


def _filled(form: Identity, headers: Sequence[DicomIdentity]) -> Identity:
    """The form, its blanks filled from the headers (which agree with it and each other)."""
    identity = form
    for header in headers:
        patient = ("patient_id", *_OF_THE_PATIENT) if header.patient_id else ()
        added = {
            name: getattr(header, name)
            for name in (*patient, *_OF_THE_STUDY)
            if not getattr(identity, name) and getattr(header, name)
        }
        identity = replace(identity, **added)
    return identity
