"""Signing a reading as a radiologist does."""

from __future__ import annotations

from cases.access import Actor
from cases.models import Case, Reading
from cases.services.readings import Place, reading_content_parse, reading_sign


def sign(reader: Actor, case: Case, category: str = "2") -> Reading:
    content = reading_content_parse({"category": category})
    return reading_sign(actor=reader, case_id=case.pk, place=Place(), content=content, version=0)
