"""What is watched of the models, counted by hand on made-up rows."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from cases.access import SYSTEM
from cases.errors import NotFound, PermissionDenied
from cases.models import ResultWithdrawal, Site
from cases.selectors.watch import watch, watch_devices
from cases.watching import NO_DEVICE, AlertKind, Basis, Watch, WatchFilter, WatchRow
from ml.refusal_fit import distance_figures
from tests.factories import (
    live_model,
    make_actor,
    make_site,
    make_user,
    newer_model,
    stored_result,
    submit,
)
from tests.watching import Read, make_examination, make_finding, outcome, spread, store

pytestmark = pytest.mark.django_db


@pytest.fixture
def site() -> Site:
    return make_site()


def figures(of: Site, **wanted: object) -> Watch:
    return watch(actor=make_actor(roles=["admin"], site=of), wanted=WatchFilter(**wanted))  # type: ignore[arg-type]


def the_row(told: Watch, device: str | None = None) -> WatchRow:
    return next(row for row in told.rows if row.device == device)


def mixed() -> list[Read]:
    return [
        *[Read(0.1) for _ in range(12)],
        *[Read(0.9) for _ in range(4)],
        *[Read(0.9, outcome="abstained") for _ in range(2)],
        Read(outcome="refused", code="not_ultrasound"),
        Read(outcome="refused", code="colour_overlay"),
        *[Read(0.2, device="Beta", days_ago=200) for _ in range(10)],
    ]


def test_answers_are_counted_by_version_site_and_device(site: Site) -> None:
    store(make_examination(site), mixed())
    told = figures(site)
    assert [(row.site, row.device) for row in told.rows] == [
        (site.code, None),
        (site.code, "Acme"),
        (site.code, "Beta"),
    ]
    acme = the_row(told, "Acme").mix
    assert acme.answered == {"benign": 12, "malignant": 4}
    assert (acme.abstained, acme.refused) == (2, {"not_ultrasound": 1, "colour_overlay": 1})
    assert acme.images == 20
    assert acme.refused_share.value == 0.1
    assert acme.refused_share.interval == pytest.approx((0.0279, 0.3010), abs=1e-4)
    everything = the_row(told)
    assert everything.mix.answered == {"benign": 22, "malignant": 4}
    # Beta's are too old to be recent.
    assert (everything.mix.images, everything.recent.images) == (30, 20)
    assert sum(week.mix.images for week in told.weeks) == 30


def test_of_an_image_read_again_the_newest_standing_answer_counts(site: Site) -> None:
    case = make_examination(site)
    first = store(case, [Read(0.9, days_ago=5)])[0]
    again = store(case, [Read(0.1, days_ago=2, image=first.image)])[0]
    assert the_row(figures(site)).mix.answered == {"benign": 1}
    withdraw(again, site)
    row = the_row(figures(site))
    assert (row.mix.answered, row.withdrawn) == ({"malignant": 1}, 1)
    withdraw(first, site)
    assert figures(site).rows == () or the_row(figures(site)).mix.images == 0


def withdraw(read: Read, site: Site) -> None:
    assert read.image is not None
    ResultWithdrawal.objects.create(
        result=read.result,
        case=read.image.case,
        reason="Wrong.",
        withdrawn_by=make_user(roles=["admin"], site=site),
    )


def test_a_filter_narrows_to_a_version_a_device_and_a_period(site: Site) -> None:
    case = make_examination(site)
    old = live_model()
    store(case, [Read(), Read(device="Beta", days_ago=40), Read(device="")], model=old)
    new = newer_model("second", b"other weights")
    store(case, [Read(), Read()], model=new)
    assert [row.version for row in figures(site).totals] == ["second", old.version]
    assert the_row(figures(site, version=new.pk)).mix.images == 2
    assert the_row(figures(site, version=old.pk, device="Beta")).mix.images == 1
    assert the_row(figures(site, version=old.pk, device=NO_DEVICE)).mix.images == 1
    month = timezone.now() - timedelta(days=30)
    assert the_row(figures(site, version=old.pk, since=month)).mix.images == 2
    assert the_row(figures(site, until=month)).mix.images == 1
    assert figures(site, until=month - timedelta(days=300)).rows == ()
    actor = make_actor(roles=["admin"], site=site)
    assert watch_devices(actor=actor) == ["Acme", "Beta", NO_DEVICE]


def finding_reads(site: Site, **counts: tuple[str, str, int, int, int]) -> list[Read]:
    """Reads of findings: (pathology, basis, above, below, without an answer)."""
    case = make_examination(site)
    reads = []
    for pathology, basis, above, below, unanswered in counts.values():
        for score, n in ((0.9, above), (0.1, below), (None, unanswered)):
            for _ in range(n):
                finding = make_finding(case, pathology, basis)
                said = {"malignant": score} if score else {"outcome": "abstained"}
                reads.append(Read(finding=finding, **said))  # type: ignore[arg-type]
    return store(case, reads)


def test_sensitivity_specificity_and_ppv_count_findings_by_how_their_outcome_is_known(
    site: Site,
) -> None:
    finding_reads(
        site,
        invasive=("invasive", "histology", 8, 2, 1),
        in_situ=("in_situ", "histology", 1, 0, 0),
        biopsied=("benign", "histology", 1, 3, 1),
        followed=("benign", "follow_up", 1, 7, 0),
        only_read=("benign", "reader_only", 0, 2, 0),
        b3=("high_risk", "histology", 1, 0, 0),
        failed_biopsy=("insufficient", "histology", 0, 1, 0),
        unknown=("", "", 6, 20, 0),
    )
    row = the_row(figures(site))
    known = row.known[Basis.VERIFIED]
    assert (known.sensitivity.count, known.sensitivity.n) == (9, 11)
    assert (known.specificity.count, known.specificity.n) == (10, 12)
    assert (known.ppv.count, known.ppv.n) == (9, 11)
    # No answer is no negative answer.
    assert (known.sensitivity_all.count, known.sensitivity_all.n) == (10, 12)
    assert (known.specificity_all.count, known.specificity_all.n) == (10, 13)
    assert row.known[Basis.FOLLOW_UP].specificity.n == 8
    assert row.known[Basis.FOLLOW_UP].specificity.value is None  # too few
    assert row.known[Basis.FOLLOW_UP].sensitivity.n == 0
    assert row.known[Basis.READER_ONLY].n == 2
    # Whose outcome is known at all differs by what the model said: 12 of 18, and 12 of 35.
    assert (row.verification.above.count, row.verification.above.n) == (12, 18)
    assert (row.verification.below.count, row.verification.below.n) == (12, 35)
    assert row.verification.neither == 2


def test_a_finding_counts_once_and_is_above_where_one_of_its_images_is(site: Site) -> None:
    case = make_examination(site)
    caught, missed = (make_finding(case, "invasive") for _ in range(2))
    unread = make_finding(case, "invasive")
    store(
        case,
        [
            Read(0.1, finding=caught),
            Read(0.9, finding=caught, device="Beta"),
            Read(0.1, finding=missed),
            Read(0.2, finding=missed, device="Beta"),
            Read(0.2, finding=unread),
            Read(finding=unread, outcome="refused", code="dual_view"),
            Read(0.9),  # of no finding: nothing can be known of it
        ],
    )
    told = figures(site)
    known = the_row(told).known[Basis.HISTOLOGY]
    said = (known.malignant_above, known.malignant_below, known.malignant_unanswered)
    assert said == (1, 1, 1)
    assert the_row(told, "Acme").known[Basis.HISTOLOGY].malignant_above == 0
    assert the_row(told, "Beta").known[Basis.HISTOLOGY].malignant_above == 1


def test_a_later_outcome_takes_the_place_of_the_earlier(site: Site) -> None:
    case = make_examination(site)
    finding = make_finding(case)
    first = outcome(finding, "benign", "reader_only")
    store(case, [Read(0.9, finding=finding)])
    assert the_row(figures(site)).known[Basis.READER_ONLY].benign_above == 1
    outcome(finding, "invasive", "histology", supersedes=first, reason="Biopsy.")
    known = the_row(figures(site)).known
    assert known[Basis.READER_ONLY].n == 0
    assert known[Basis.VERIFIED].malignant_above == 1


def test_calibration_holds_scores_against_verified_outcomes_by_image(site: Site) -> None:
    case = make_examination(site)
    ill, well = make_finding(case, "invasive"), make_finding(case, "benign", "follow_up")
    opinion = make_finding(case, "benign", "reader_only")
    store(
        case,
        [
            *[Read(0.9, finding=ill) for _ in range(36)],
            *[Read(0.9, finding=well) for _ in range(4)],
            *[Read(1.0, finding=ill) for _ in range(10)],
            *[Read(0.1, finding=well, outcome="abstained") for _ in range(20)],
            Read(0.5, finding=opinion),
            Read(finding=well, outcome="refused", code="dual_view"),
        ],
    )
    calibration = the_row(figures(site)).calibration
    assert calibration is not None
    assert (calibration.n, calibration.findings) == (70, 2)
    filled = {n: b for n, b in enumerate(calibration.bins) if b.n}
    # 0.1 in the second of fifteen bins, 0.9 in the fourteenth, 1.0 in the last.
    assert sorted(filled) == [1, 13, 14]
    assert (filled[13].n, filled[13].malignant) == (40, 36)
    assert filled[13].mean_score == pytest.approx(0.9)
    # Gaps: 20 x 0.1, 40 x 0, 10 x 0.
    assert calibration.error == pytest.approx(2 / 70)


def test_drift_is_told_against_the_cards_training_images(site: Site) -> None:
    rng = np.random.default_rng(1)
    model = live_model()
    model.card["refusal"] = {"figures": {"distance": distance_figures(rng.gamma(9, 1 / 9, 2000))}}
    model.save()
    case = make_examination(site)
    store(case, spread(rng.gamma(9, 1 / 9, 300)), model=model)
    same = the_row(figures(site))
    assert same.drift is not None
    assert (same.drift.n, same.drift.reference.of, same.drift.reference.n) == (
        300,
        "training",
        2000,
    )
    assert figures(site).alerts == ()
    store(case, spread(rng.gamma(9, 1.6 / 9, 150), device="New"), model=model)
    told = figures(site)
    raised = {(a.kind, a.row.device) for a in told.alerts}
    assert (AlertKind.DRIFT, "New") in raised and (AlertKind.DRIFT, "Acme") not in raised
    new = the_row(told, "New").drift
    assert new is not None and new.psi is not None and new.psi > 1
    assert new.far.value is not None and new.far.value > 0.3


def test_refused_images_and_old_ones_are_no_part_of_drift(site: Site) -> None:
    model = live_model()
    model.card["refusal"] = {"figures": {"distance": distance_figures(np.linspace(0, 2, 200))}}
    model.save()
    far = [
        *spread([9.0] * 60, outcome="refused", code="not_ultrasound"),
        *spread([9.0] * 60, days_ago=100),
        *spread([0.5] * 3),
        Read(distance=None),
    ]
    store(make_examination(site), far, model=model)
    drift = the_row(figures(site)).drift
    assert drift is not None
    assert (drift.n, drift.beyond) == (3, 0)
    # 0.5 is a quarter of the way: the third tenth.
    assert drift.counts[2] == 3


def test_without_a_cards_word_the_first_images_are_the_reference(site: Site, settings) -> None:
    settings.BCWEB_WATCH_REFERENCE = 60
    case, rng = make_examination(site), np.random.default_rng(2)
    for n, value in enumerate(rng.gamma(9, 1 / 9, 59)):
        store(case, spread([value], days_ago=20 - n / 100))
    assert the_row(figures(site)).drift is None  # still filling
    store(case, spread(rng.gamma(9, 1 / 9, 1), days_ago=19))
    assert the_row(figures(site)).drift is None  # nothing since
    store(case, spread(rng.gamma(9, 1 / 9, 80), days_ago=3))
    drift = the_row(figures(site)).drift
    assert drift is not None
    assert (drift.n, drift.reference.of, drift.reference.n) == (80, "first_images", 60)
    assert figures(site).alerts == ()
    # They are not asked for again: what comes after them does not change them.
    with CaptureQueriesContext(connection) as asked:
        assert the_row(figures(site)).drift == drift
    assert not [query for query in asked.captured_queries if "WITH first" in query["sql"]]
    store(case, spread(rng.gamma(9, 2 / 9, 120), days_ago=2))
    assert [a.kind for a in figures(site).alerts] == [AlertKind.DRIFT, AlertKind.DRIFT]


def test_an_alert_is_raised_where_refusals_or_abstentions_are_surely_too_many(
    site: Site, settings
) -> None:
    settings.BCWEB_WATCH_REFUSED_SHARE = settings.BCWEB_WATCH_ABSTAINED_SHARE = 0.2
    case = make_examination(site)
    store(case, [Read() for _ in range(20)])
    store(case, [Read(outcome="refused", code="dual_view") for _ in range(8)])
    # 8 of 28: the interval begins at 0.15.
    assert figures(site).alerts == ()
    store(case, [Read(outcome="refused", code="dual_view") for _ in range(12)])
    assert {(a.kind, a.row.device) for a in figures(site).alerts} == {
        (AlertKind.REFUSED, None),
        (AlertKind.REFUSED, "Acme"),
    }
    store(case, [Read(outcome="abstained") for _ in range(60)])
    assert {a.kind for a in figures(site).alerts} == {AlertKind.ABSTAINED}
    # What was long ago raises none.
    assert figures(site, until=timezone.now() - timedelta(days=3)).alerts == ()


def test_everybody_sees_their_own_site_and_the_machine_all(site: Site) -> None:
    other = make_site()
    store(make_examination(site), [Read()])
    store(make_examination(other), [Read(), Read()])
    assert the_row(figures(site)).mix.images == 1
    assert the_row(figures(site, site=site.pk)).mix.images == 1
    with pytest.raises(NotFound):
        figures(site, site=other.pk)
    assert {row.site: row.mix.images for row in watch(actor=SYSTEM).totals} == {
        site.code: 1,
        other.code: 2,
    }
    assert watch(actor=SYSTEM, wanted=WatchFilter(site=other.pk)).totals[0].mix.images == 2


@pytest.mark.parametrize("role", ["sonographer", "radiologist", "approver", "auditor"])
def test_only_administrators_watch(role: str) -> None:
    actor = make_actor(roles=[role])
    with pytest.raises(PermissionDenied):
        watch(actor=actor)
    with pytest.raises(PermissionDenied):
        watch_devices(actor=actor)


def test_a_result_stored_by_a_worker_is_among_them_and_one_in_shadow_is_not() -> None:
    job = submit().jobs.get()
    stored_result(job, 0.8)
    row = watch(actor=SYSTEM).totals[0]
    assert (row.version, row.mix.answered) == ("test-model", {"malignant": 1})
    assert row.drift is None and row.calibration is None


def test_it_takes_the_same_few_questions_for_many_results(
    site: Site, django_assert_max_num_queries
) -> None:
    case = make_examination(site)
    store(case, [Read(device=f"Device {n}", distance=1.0) for n in range(40)])
    actor = make_actor(roles=["admin"], site=site)
    with django_assert_max_num_queries(7):
        assert len(watch(actor=actor).rows) == 41
