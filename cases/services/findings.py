"""Findings that a reader names on images which came without a place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Max

from cases.access import Actor, Capability
from cases.errors import FieldInvalid, StateConflict
from cases.models import Finding, Image
from cases.services.audit import audit_record
from cases.services.candidates import candidates_refresh
from cases.services.fields import SubmissionFields, submission_fields_parse
from cases.services.review import case_locked
from cases.vocabulary import Laterality

_PLACE = ("laterality", "clock_position", "quadrant", "nipple_distance_mm")


def finding_fields_parse(raw: Mapping[str, Any]) -> SubmissionFields:
    """The place of a finding, by the rules of a submission; the side must be one breast."""
    fields = submission_fields_parse({name: raw.get(name) for name in _PLACE})
    if fields.laterality not in (Laterality.LEFT, Laterality.RIGHT):
        raise FieldInvalid(errors={"laterality": ["Say which breast: left or right."]})
    return fields


@transaction.atomic
def finding_add(
    *, actor: Actor, case_id: UUID, fields: SubmissionFields, image_ids: Sequence[UUID]
) -> Finding:
    """Name a finding of a case and the images that show it.

    Only images without a finding are taken; one that has another is a ``StateConflict``, as is a
    second finding at the same place. ``FieldInvalid`` where no image is named or one is of
    another case; ``NotFound``, ``Erased``, ``PermissionDenied`` without READ_CASES.
    """
    actor.require(Capability.READ_CASES)
    case = case_locked(actor=actor, case_id=case_id)
    # In the order in which a worker holds those of a batch.
    wanted = Image.objects.filter(case=case, pk__in=image_ids).order_by("pk")
    images = list(wanted.select_for_update(no_key=True))
    if not images or len(images) != len(set(image_ids)):
        raise FieldInvalid(errors={"images": ["Choose the images that show the finding."]})
    if any(image.finding_id is not None for image in images):
        raise StateConflict("One of these images shows another finding already.")
    place = {
        "laterality": fields.laterality.value,
        "clock_position": fields.clock_position,
        "quadrant": fields.quadrant.value if fields.quadrant else "",
        "nipple_distance_mm": fields.nipple_distance_mm,
    }
    findings = Finding.objects.filter(case=case)
    if findings.filter(**place).exists():
        raise StateConflict("The case has a finding at this place already.")
    last = findings.aggregate(last=Max("number"))["last"] or 0
    finding = Finding.objects.create(case=case, number=last + 1, **place)
    Image.objects.filter(pk__in=[image.pk for image in images]).update(finding=finding)
    audit_record(
        actor=actor,
        action="finding.added",
        object_type="finding",
        object_id=finding.pk,
        site_id=case.site_id,
        case_id=case.pk,
        changed_fields=list(_PLACE),
        detail={"finding": finding.number, "images": len(images)},
    )
    candidates_refresh(actor=actor, case=case)
    return finding
