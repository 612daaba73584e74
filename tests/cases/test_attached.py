"""Rows that are attached to the rows of a page (cases/selectors/attached.py)."""

from __future__ import annotations

import pytest
from django.db import connection
from django.db.models import Prefetch
from django.test.utils import CaptureQueriesContext

from cases.models import Case, Image, Job
from cases.selectors.attached import attach
from tests.factories import make_actor, make_site, phantom_jpeg, submit

pytestmark = pytest.mark.django_db
ORDER = ("-position", "id")


@pytest.fixture
def cases() -> list[Case]:
    """Three cases of a site: with two images, with one, and with none of them any more."""
    actor = make_actor(site=make_site())
    made = [
        submit(actor=actor, files=[phantom_jpeg() for _ in range(count)], patient_id=f"P{count}")
        for count in (2, 1)
    ]
    submit(actor=make_actor(site=make_site()))
    empty = Case.objects.create(
        site=made[0].case.site, patient=made[0].case.patient, accession_number="EMPTY"
    )
    return [*(submission.case for submission in made), empty]


def test_children_come_as_a_prefetch_brings_them_by_one_query(cases: list[Case]) -> None:
    jobs = Prefetch("jobs", queryset=Job.objects.order_by("id"))
    images = Image.objects.order_by(*ORDER)
    wanted = Case.objects.prefetch_related(Prefetch("images", images.prefetch_related(jobs)))
    with CaptureQueriesContext(connection) as caught:
        found = attach(cases, "images", images)
        attach(found, "jobs", Job.objects.order_by("id"))
        for case in cases:
            for image in case.images.all():
                assert image.case is case
                assert [job.image is image for job in image.jobs.all()] == [True]
    assert len(caught) == 2
    for case in cases:
        same = wanted.get(pk=case.pk)
        assert list(case.images.all()) == list(same.images.all())
        pairs = zip(case.images.all(), same.images.all(), strict=True)
        assert all(list(one.jobs.all()) == list(two.jobs.all()) for one, two in pairs)
    assert [case.images.all().count() for case in cases] == [2, 1, 0]


def test_what_is_attached_is_never_a_way_to_the_rows_of_others(cases: list[Case]) -> None:
    attach(cases, "images", Image.objects.all())
    assert Image.objects.filter(frames=1).count() == 4
    for case in cases:
        images = case.images
        for ask in (images.filter, images.all().order_by, images.aggregate, images.all().iterator):
            with pytest.raises(TypeError, match="all"):
                ask()
        # Read anew, the case asks as ever.
        case.refresh_from_db()
        assert case.images.filter(frames=1).count() == len(Image.objects.filter(case=case))


def test_nothing_is_asked_for_nobody() -> None:
    with CaptureQueriesContext(connection) as caught:
        assert attach([], "images", Image.objects.all()) == []
    assert not caught


def test_only_what_belongs_to_a_row_can_be_attached(cases: list[Case]) -> None:
    with pytest.raises(AssertionError, match="patient"):
        attach(cases, "patient", Case.objects.all())
