"""What stands behind a step of a case's history, without codes: reasons of failures, names of
fields, which reading it was."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from cases.errors import ERRORS
from cases.told import told
from cases.words import Words, within

# Why a job failed, by the code that programs get.
FAULTS = Words(
    {
        "engine_answer_invalid": _("the model gave no usable answer"),
        "engine_crashed": _("the model's process ended while it read the image"),
        "engine_memory": _("the model used too much memory"),
        "engine_timeout": _("the model took too long"),
        "image_unreadable": _("the stored image could not be decoded"),
        "model_unavailable": _("the model could not be loaded"),
        "storage_damaged": _("the stored image is missing or damaged"),
        "worker_lost": _("the worker was lost each time it tried"),
    }
)
FIELDS = Words(
    {
        "accession_issuer": _("issuer of the accession number"),
        "accession_number": _("accession number"),
        "birth_date": _("date of birth"),
        "clock_position": _("clock position"),
        "data_root": _("place of the pictures"),
        "expires_at": _("end of its life"),
        "is_active": _("open or closed"),
        "nipple_distance_mm": _("distance from the nipple"),
        "patient_id": _("patient id"),
        "patient_issuer": _("issuer of the patient id"),
        "patient_name": _("name"),
        "laterality": _("side"),
        "research_opt_out": _("part in research"),
        "reader_first": _("reading first"),
        "revoked_at": _("revoked"),
        "scopes": _("rights"),
        "study_instance_uid": _("study"),
        "username": _("user name"),
    }
)


def fault_words(code: str) -> str:
    """Why something failed or was refused, as the end of a sentence."""
    if code in FAULTS:
        return FAULTS[code]
    known = ERRORS.get(code)
    return within(told(known.title) if known else code.replace("_", " "))


def field_words(names: Iterable[str]) -> str:
    """Names of changed fields as people call them; a change of state alone needs no word."""
    known = [FIELDS.get(name, name.replace("_", " ")) for name in names if name != "state"]
    return ", ".join(known)


def reading_words(action: str, detail: dict[str, Any]) -> str:
    """Which place a reading was of, and what its reader knew: " of finding 2 (before …)"."""
    if "finding" not in detail or not action.startswith("reading."):
        return ""
    finding = detail["finding"]
    place = (
        gettext(" of the case as a whole")
        if finding is None
        else gettext(" of finding {finding}").format(finding=finding)
    )
    if detail.get("after_reveal") is True:
        return gettext("{place} (after the model's answer was shown)").format(place=place)
    if detail.get("after_reveal") is False and not detail.get("ai_seen"):
        return gettext("{place} (before the model's answer was shown)").format(place=place)
    if detail.get("ai_seen") is False:
        return gettext("{place} (no answer of the model had been seen)").format(place=place)
    return place
