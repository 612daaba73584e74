"""Where in which breast: the side of each image, and the finding it belongs to."""

from __future__ import annotations

from django.db.models import Max

from cases.errors import FieldInvalid
from cases.models import Case, Finding
from cases.services.fields import SubmissionFields
from cases.services.uploads import Checked
from cases.vocabulary import Laterality, clock_allows_quadrant

_ONE_SIDE = (Laterality.LEFT, Laterality.RIGHT)


def side_of(fields: SubmissionFields, checked: Checked, *, keep_form: bool) -> Laterality:
    """The breast an image shows: the form's side, else the DICOM header's.

    Raises ``FieldInvalid`` (naming the file) where the two name opposite breasts and nobody gave
    a reason (``keep_form``), and where the clock position does not fit the side found.
    """
    told = checked.image.dicom.laterality if checked.image.dicom else ""
    header = Laterality(told) if told else Laterality.UNKNOWN
    side = fields.laterality
    if side in _ONE_SIDE and header in _ONE_SIDE and side is not header and not keep_form:
        raise FieldInvalid(
            "The DICOM header names the other breast. Check the side.",
            file=checked.name,
            errors={"laterality": ["The DICOM header names the other breast."]},
        )
    if side not in _ONE_SIDE and header is not Laterality.UNKNOWN:
        side = header
    _check_quadrant(fields, side, checked.name)
    return side


def _check_quadrant(fields: SubmissionFields, side: Laterality, file: str) -> None:
    clock, quadrant = fields.clock_position, fields.quadrant
    if clock is None or quadrant is None or side is Laterality.BOTH:
        return
    if not clock_allows_quadrant(side, clock, quadrant):
        raise FieldInvalid(
            file=file,
            errors={"quadrant": [f"{clock} o'clock does not lie in this quadrant of this breast."]},
        )


def finding_for(case: Case, fields: SubmissionFields, side: Laterality) -> Finding | None:
    """The finding at this place of this breast: the case's own, or a new one.

    None where the fields tell no place. The caller holds the lock on the case.
    """
    if not fields.has_location:
        return None
    place = {
        "laterality": side.value,
        "clock_position": fields.clock_position,
        "quadrant": fields.quadrant.value if fields.quadrant else "",
        "nipple_distance_mm": fields.nipple_distance_mm,
    }
    known = Finding.objects.filter(case=case, **place).first()
    if known is not None:
        return known
    last = Finding.objects.filter(case=case).aggregate(last=Max("number"))["last"] or 0
    return Finding.objects.create(case=case, number=last + 1, **place)
