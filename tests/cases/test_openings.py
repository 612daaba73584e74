"""Opening a patient's identity: with a reason, for one case, one session and a while."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now

from cases.access import Actor
from cases.errors import Erased, FieldInvalid, NotFound, PermissionDenied, StateConflict
from cases.models import AuditEvent, Case, IdentityClosing, IdentityOpening, Site
from cases.models.openings import session_mark
from cases.selectors.openings import opening_now, openings_of
from cases.services.erasure import erasure_plan, patient_erase
from cases.services.openings import OPEN_MINUTES, identity_close, identity_open
from cases.services.people import actor_for_token
from tests.factories import at_once, make_actor, make_site, make_token, make_user, submit

pytestmark = pytest.mark.django_db

WHY = "The sending system asks which patient this is."


@pytest.fixture
def site() -> Site:
    return make_site()


@pytest.fixture
def admin(site: Site) -> Actor:
    return make_actor(roles=["admin"], site=site)


@pytest.fixture
def case(site: Site) -> Case:
    return submit(actor=make_actor(roles=["sonographer"], site=site)).case


def test_it_is_open_to_this_person_in_this_session_on_this_case(
    admin: Actor, site: Site, case: Case
) -> None:
    opening = identity_open(actor=admin, case_id=case.pk, reason=f" {WHY} ", session="s1")
    assert opening.reason == WHY
    assert opening.expires_at - opening.opened_at == timedelta(minutes=OPEN_MINUTES)
    asked = {"actor": admin, "case_id": case.pk, "session": "s1"}
    assert opening_now(**asked) == opening
    other = submit(actor=make_actor(roles=["sonographer"], site=site)).case
    assert opening_now(**{**asked, "case_id": other.pk}) is None
    assert opening_now(**{**asked, "session": "s2"}) is None
    assert opening_now(**{**asked, "session": ""}) is None
    assert opening_now(**{**asked, "actor": make_actor(roles=["admin"], site=site)}) is None
    # The key of the session itself is not kept.
    assert "s1" not in str(vars(opening))


def test_twice_is_once_and_does_not_last_longer(admin: Actor, case: Case) -> None:
    wanted = {"actor": admin, "case_id": case.pk, "session": "s"}
    first = identity_open(**wanted, reason=WHY)
    assert identity_open(**wanted, reason="Again.") == first
    identity_close(**wanted)
    identity_close(**wanted)
    assert opening_now(**wanted) is None
    told = AuditEvent.objects.filter(case_id=case.pk, action__startswith="identity.")
    assert list(told.order_by("id").values_list("action", flat=True)) == [
        "identity.opened",
        "identity.closed",
    ]
    assert identity_open(**wanted, reason=WHY) != first


@pytest.mark.django_db(transaction=True)
def test_two_at_once_open_it_once() -> None:
    site = make_site()
    admin = make_actor(roles=["admin"], site=site)
    case = submit(actor=make_actor(roles=["sonographer"], site=site)).case
    found = at_once(
        2, lambda: identity_open(actor=admin, case_id=case.pk, reason=WHY, session="s").pk
    )
    assert found[0] == found[1]
    assert IdentityOpening.objects.count() == 1


def test_its_time_runs_out(admin: Actor, case: Case) -> None:
    IdentityOpening.objects.create(
        case=case,
        user_id=admin.user_id,
        session=session_mark("s"),
        reason=WHY,
        opened_at=Now() - timedelta(minutes=16),
        expires_at=Now() - timedelta(minutes=1),
    )
    assert opening_now(actor=admin, case_id=case.pk, session="s") is None
    assert len(openings_of(case=case)) == 1


def test_it_takes_a_reason(admin: Actor, case: Case) -> None:
    for reason in ("", "  ", "x" * 501):
        with pytest.raises(FieldInvalid):
            identity_open(actor=admin, case_id=case.pk, reason=reason, session="s")
    with pytest.raises(PermissionDenied):
        identity_open(actor=admin, case_id=case.pk, reason=WHY, session="")
    assert not IdentityOpening.objects.exists()


@pytest.mark.parametrize("role", ["approver", "auditor", "sonographer", "radiologist"])
def test_who_is_no_administrator_opens_nothing(role: str, site: Site, case: Case) -> None:
    actor = make_actor(roles=[role], site=site)
    with pytest.raises(PermissionDenied):
        identity_open(actor=actor, case_id=case.pk, reason=WHY, session="s")


def test_who_sees_it_anyway_and_a_token_open_nothing(site: Site, case: Case) -> None:
    with pytest.raises(StateConflict):
        identity_open(
            actor=make_actor(roles=["admin", "radiologist"], site=site),
            case_id=case.pk,
            reason=WHY,
            session="s",
        )
    token, _ = make_token(user=make_user(roles=["admin"], site=site), scopes=["admin", "read"])
    with pytest.raises(PermissionDenied):
        identity_open(actor=actor_for_token(token), case_id=case.pk, reason=WHY, session="s")


def test_another_sites_case_is_not_there(case: Case) -> None:
    stranger = make_actor(roles=["admin"])
    with pytest.raises(NotFound):
        identity_open(actor=stranger, case_id=case.pk, reason=WHY, session="s")
    with pytest.raises(NotFound):
        identity_close(actor=stranger, case_id=case.pk, session="s")


def test_an_erasure_empties_the_reason_and_ends_it(admin: Actor, case: Case) -> None:
    identity_open(actor=admin, case_id=case.pk, reason="Is it Jane Doe?", session="s")
    plan = erasure_plan(actor=admin, case_id=case.pk)
    patient_erase(actor=admin, case_id=case.pk, reason="Asked for.", token=plan.token)
    assert IdentityOpening.objects.get().reason == ""
    with pytest.raises(Erased):
        identity_open(actor=admin, case_id=case.pk, reason=WHY, session="s")


def test_the_trail_holds_no_reason_and_the_rows_never_change(admin: Actor, case: Case) -> None:
    opening = identity_open(actor=admin, case_id=case.pk, reason=WHY, session="s")
    event = AuditEvent.objects.get(action="identity.opened")
    assert (event.object_id, event.case_id, event.user_id) == (
        str(case.pk),
        case.pk,
        admin.user_id,
    )
    assert event.detail == {"minutes": OPEN_MINUTES}
    identity_close(actor=admin, case_id=case.pk, session="s")
    for change in (
        lambda: IdentityOpening.objects.filter(pk=opening.pk).update(reason="Other."),
        lambda: IdentityOpening.objects.filter(pk=opening.pk).update(reason=""),
        lambda: IdentityClosing.objects.all().delete(),
    ):
        with pytest.raises(Exception, match="append-only"), transaction.atomic():
            change()


def test_the_database_lets_nothing_stay_open_for_long(admin: Actor, case: Case) -> None:
    for minutes in (61, -1):
        with pytest.raises(IntegrityError), transaction.atomic():
            IdentityOpening.objects.create(
                case=case,
                user_id=admin.user_id,
                session="s",
                reason=WHY,
                expires_at=Now() + timedelta(minutes=minutes),
            )
    assert connection.is_usable()
