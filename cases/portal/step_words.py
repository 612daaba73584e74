"""What stands behind a step of a case's history, without codes: reasons of failures, names of
fields, which reading it was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cases.errors import ERRORS

# Why a job failed, by the code that programs get.
FAULTS: dict[str, str] = {
    "engine_answer_invalid": "the model gave no usable answer",
    "engine_crashed": "the model's process ended while it read the image",
    "engine_memory": "the model used too much memory",
    "engine_timeout": "the model took too long",
    "image_unreadable": "the stored image could not be decoded",
    "model_unavailable": "the model could not be loaded",
    "storage_damaged": "the stored image is missing or damaged",
    "worker_lost": "the worker was lost each time it tried",
}
FIELDS: dict[str, str] = {
    "accession_issuer": "issuer of the accession number",
    "accession_number": "accession number",
    "birth_date": "date of birth",
    "clock_position": "clock position",
    "data_root": "place of the pictures",
    "expires_at": "end of its life",
    "is_active": "open or closed",
    "nipple_distance_mm": "distance from the nipple",
    "patient_id": "patient id",
    "patient_issuer": "issuer of the patient id",
    "patient_name": "name",
    "laterality": "side",
    "research_opt_out": "part in research",
    "reader_first": "reading first",
    "revoked_at": "revoked",
    "scopes": "rights",
    "study_instance_uid": "study",
    "username": "user name",
}


def fault_words(code: str) -> str:
    """Why something failed or was refused, as the end of a sentence."""
    if code in FAULTS:
        return FAULTS[code]
    known = ERRORS.get(code)
    words = known.title if known else code.replace("_", " ")
    return words[:1].lower() + words[1:]


def field_words(names: Iterable[str]) -> str:
    """Names of changed fields as people call them; a change of state alone needs no word."""
    told = [FIELDS.get(name, name.replace("_", " ")) for name in names if name != "state"]
    return ", ".join(told)


def reading_words(action: str, detail: dict[str, Any]) -> str:
    """Which place a reading was of, and what its reader knew: " of finding 2 (before …)"."""
    if "finding" not in detail or not action.startswith("reading."):
        return ""
    finding = detail["finding"]
    place = " of the case as a whole" if finding is None else f" of finding {finding}"
    if detail.get("after_reveal") is True:
        return f"{place} (after the model's answer was shown)"
    if detail.get("after_reveal") is False and not detail.get("ai_seen"):
        return f"{place} (before the model's answer was shown)"
    if detail.get("ai_seen") is False:
        return f"{place} (no answer of the model had been seen)"
    return place
