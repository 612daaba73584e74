"""Near-duplicates found by the database: distances by hand, and nobody sees another site's."""

from __future__ import annotations

import random
from uuid import uuid4

import pytest

from cases.access import Role
from cases.errors import NotFound, PermissionDenied
from cases.models import Image
from cases.selectors.similar import NEAR_BITS, bits_apart, image_similar_list
from cases.services.results import signed64
from ml.duplicates import MAX_HASH_BITS
from ml.phash import hamming
from tests.factories import make_actor, make_site, stored_result, submit

pytestmark = pytest.mark.django_db

BASE = 0xF00DF00DF00DF00D
TOP = 1 << 63


def hashed(*hashes: int, **fields: object) -> list[Image]:
    """One image a hash (unsigned), of one submission."""
    submission = submit(**fields)
    image = submission.images.get()
    images = [image]
    for position in range(1, len(hashes)):
        values = {f.attname: getattr(image, f.attname) for f in Image._meta.concrete_fields}
        copy = Image(**{**values, "id": uuid4(), "position": position})
        copy.save(force_insert=True)
        images.append(copy)
    for item, value in zip(images, hashes, strict=True):
        item.phash = signed64(value)
        item.save(update_fields=["phash"])
    return images


def test_the_database_counts_bits_as_the_rule_does() -> None:
    rng = random.Random(1)
    special = [0, 1, TOP, TOP | 1, 2**64 - 1, 2**63 - 1, BASE]
    values = [*special, *(rng.getrandbits(64) for _ in range(5))]
    hashed(*values)
    for value in special:
        found = Image.objects.annotate(bits=bits_apart(signed64(value)))
        counted = found.values_list("phash", "bits")
        assert sorted(counted) == sorted((signed64(v), hamming(v, value)) for v in values)


def test_images_up_to_the_distance_are_found_nearest_first() -> None:
    actor = make_actor()
    hashes = [BASE, BASE ^ 0b111, BASE ^ TOP, BASE ^ 0b1111, BASE ^ 0b11, BASE]
    first, three, one, four, two, same = hashed(*hashes, actor=actor)
    found = image_similar_list(actor=actor, image_id=first.pk)
    assert [(s.image_id, s.bits) for s in found] == [
        (same.pk, 0),
        (one.pk, 1),
        (two.pk, 2),
        (three.pk, 3),
    ]
    assert image_similar_list(actor=actor, image_id=first.pk, bits=4)[-1].image_id == four.pk
    assert len(image_similar_list(actor=actor, image_id=first.pk, limit=2)) == 2
    with pytest.raises(ValueError, match="0 to 64"):
        image_similar_list(actor=actor, image_id=first.pk, bits=65)


def test_the_distance_is_that_of_the_rule_for_training() -> None:
    assert NEAR_BITS == MAX_HASH_BITS


def test_it_tells_whether_the_patient_is_the_same_and_no_more() -> None:
    actor = make_actor()
    (mine,) = hashed(BASE, actor=actor, patient_id="A", accession_number="1")
    (again,) = hashed(BASE, actor=actor, patient_id="A", accession_number="2")
    (other,) = hashed(BASE, actor=actor, patient_id="B")
    found = {s.image_id: s for s in image_similar_list(actor=actor, image_id=mine.pk)}
    assert found[again.pk].same_patient and found[again.pk].case_id == again.case_id
    assert not found[other.pk].same_patient
    assert set(vars(found[other.pk])) == {"image_id", "case_id", "bits", "same_patient"}


def test_another_sites_images_are_neither_found_nor_asked_about() -> None:
    here, there = make_actor(), make_actor(site=make_site())
    (mine,) = hashed(BASE, actor=here)
    (theirs,) = hashed(BASE, actor=there)
    assert image_similar_list(actor=here, image_id=mine.pk) == []
    with pytest.raises(NotFound):
        image_similar_list(actor=here, image_id=theirs.pk)
    with pytest.raises(NotFound):
        image_similar_list(actor=here, image_id=uuid4())


def test_who_may_not_see_cases_may_not_compare_them() -> None:
    actor = make_actor()
    (image,) = hashed(BASE, actor=actor)
    auditor = make_actor(roles=[Role.AUDITOR])
    with pytest.raises(PermissionDenied):
        image_similar_list(actor=auditor, image_id=image.pk)


def test_an_image_without_a_result_has_no_hash_and_no_likeness() -> None:
    actor = make_actor()
    (known,) = hashed(BASE, actor=actor)
    fresh = submit(actor=actor)
    image = fresh.images.get()
    assert image_similar_list(actor=actor, image_id=image.pk) == []
    assert image_similar_list(actor=actor, image_id=known.pk) == []
    # The hash comes with the first result: in tests always the same one, BASE.
    stored_result(fresh.jobs.get())
    assert [s.image_id for s in image_similar_list(actor=actor, image_id=image.pk)] == [known.pk]
