"""A site reads first, or does not: switched by an administrator, with a reason, for all to see."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.db import transaction

from cases.access import Actor, Capability, OpenedBy, Role, capabilities_of
from cases.errors import StateConflict
from cases.models import ReaderFirstEvent, Site
from cases.selectors.reader_first import reader_first_now
from cases.services.audit import audit_record
from cases.services.persons import person_required, reason_required


@transaction.atomic
def reader_first_switch(*, actor: Actor, on: bool, reason: str) -> ReaderFirstEvent:
    """The actor's site: reads as it likes -> reads first (``on``), or back.

    For a person with OPERATE, never a token. ``FieldInvalid`` without a reason, ``StateConflict``
    where it stands like that already. It counts from each person's next request on; readings that
    are signed keep what they say.
    """
    told = reason_required(reason)
    person = person_required(actor, Capability.OPERATE)
    site_id = actor.own_site
    # Two switches at once are one after the other.
    list(Site.objects.select_for_update(no_key=True).filter(pk=site_id).values_list("pk"))
    if reader_first_now(site_id=site_id) is on:
        raise StateConflict(
            "Your site reads first already." if on else "Your site does not read first."
        )
    event = ReaderFirstEvent.objects.create(
        site_id=site_id, on=on, reason=told, changed_by_id=person
    )
    event.refresh_from_db()
    audit_record(
        actor=actor,
        action="reader_first.on" if on else "reader_first.off",
        object_type="site",
        object_id=site_id,
        site_id=site_id,
        changed_fields=["reader_first"],
        detail={"reason": told},
    )
    return event


def opened_by(
    *, site_id: UUID | None, roles: frozenset[Role], by_token: bool = False
) -> OpenedBy | None:
    """What opens the model's answers to a person of these roles, or to a token of theirs.

    None where the site does not read first, and for tokens of systems: a system is nobody's eye,
    unless `BCWEB_READER_FIRST_TOKENS` says that what it gets is shown to people. A person's own
    token opens as little as the person does.
    """
    of_a_system = by_token and roles <= {Role.INTEGRATION}
    if site_id is None or (of_a_system and not settings.BCWEB_READER_FIRST_TOKENS):
        return None
    if not reader_first_now(site_id=site_id):
        return None
    return OpenedBy.OWN if Capability.READ_CASES in capabilities_of(roles) else OpenedBy.ANYBODY
