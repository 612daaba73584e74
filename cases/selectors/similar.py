"""Images that look alike, by the 64-bit perceptual hash the worker stored with each."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db.models import BigIntegerField, F, Func, IntegerField, Value
from django.db.models.functions import Cast

from cases.access import Actor, Capability
from cases.errors import NotFound
from cases.models import Image

# As in ml.duplicates, whose rule calls two pictures near-duplicates up to this distance.
NEAR_BITS = 3


@dataclass(frozen=True)
class SimilarImage:
    """An image near another one: ids only, nothing that tells whose it is.

    ``bits`` is the number of bits in which the hashes differ, 0..64.
    """

    image_id: UUID
    case_id: UUID
    bits: int
    same_patient: bool


def bits_apart(signed_hash: int) -> Func:
    """The number of bits in which a row's ``phash`` differs from ``signed_hash``, in SQL."""
    other = Cast(Value(signed_hash), BigIntegerField())
    return Func(
        F("phash"),
        other,
        template="bit_count((%(expressions)s)::bit(64))",
        arg_joiner=" # ",
        output_field=IntegerField(),
    )


def image_similar_list(
    *, actor: Actor, image_id: UUID, bits: int = NEAR_BITS, limit: int = 100
) -> list[SimilarImage]:
    """Up to ``limit`` other images of the actor's site near one of its images, nearest first.

    Empty where the image has no hash yet (no result so far). ``NotFound`` where the image is not
    of the actor's site, ``PermissionDenied`` without VIEW_CASES. Other sites' images are never
    compared, so not even their number shows. One pass over the site's hashes: no index serves a
    distance.
    """
    if not 0 <= bits <= 64:
        raise ValueError("bits are 0 to 64")
    actor.require(Capability.VIEW_CASES)
    own = Image.objects.filter(case__site_id=actor.own_site)
    image = own.select_related("case").filter(pk=image_id).first()
    if image is None:
        raise NotFound()
    if image.phash is None:
        return []
    rows = (
        own.exclude(pk=image.pk)
        .filter(phash__isnull=False)
        .annotate(bits=bits_apart(image.phash))
        .filter(bits__lte=bits)
        .order_by("bits", "created_at", "id")
        .values_list("pk", "case_id", "bits", "case__patient_id")[:limit]
    )
    return [
        SimilarImage(pk, case_id, apart, same_patient=patient_id == image.case.patient_id)
        for pk, case_id, apart, patient_id in rows
    ]
