"""Looking through the audit trail: a page of what fits, by an index, however long the trail is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet

from cases.access import Actor, Capability
from cases.models import AuditEvent, User
from cases.selectors.portal import Page
from cases.selectors.reader_first import events_shown

# An event carries the time at which its transaction began, and its id from when it was written: so
# far apart the two orders may lie. No transaction lasts longer.
SLACK = timedelta(days=1)
EXPORTED_AT_ONCE = 2_000
# As short as the pages show one, and not yet whole.
_BEGINS_A_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f-]{0,26})?")

# The lowest id from which on no event is older than a moment. Halving over the ids, which the table
# finds by its key: some twenty looks for a million events, and no index over times to keep.
_FIRST_ID = """
WITH RECURSIVE search(low, high) AS (
  SELECT min(id), max(id) + 1 FROM {table}
  UNION ALL
  SELECT CASE WHEN probe.at < %s THEN probe.id + 1 ELSE search.low END,
         CASE WHEN probe.at < %s THEN search.high ELSE half.middle END
  FROM search,
       LATERAL (SELECT (search.low + search.high) / 2 AS middle) AS half,
       LATERAL (SELECT id, at FROM {table} WHERE id >= half.middle ORDER BY id LIMIT 1) AS probe
  WHERE search.low < search.high
)
SELECT low FROM search WHERE low >= high
"""


@dataclass(frozen=True)
class AuditFilter:
    """What is looked for; "" and None: anything. Times: from ``since`` to before ``until``.

    ``object_id``: whole, or the first eight characters of a UUID or more.
    ``actor``: a person's user name, which takes in their tokens, or what a machine is called.
    """

    action: str = ""
    actor: str = ""
    object_id: str = ""
    case: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def names(self) -> list[str]:
        """What it looks at, without what somebody typed."""
        return [name for name, value in vars(self).items() if value]


def audit_search(
    *,
    actor: Actor,
    wanted: AuditFilter,
    size: int,
    older_than: int | None = None,
    newer_than: int | None = None,
) -> Page[AuditEvent]:
    """``size`` events of the actor's site, and of none, that fit; newest first.

    ``older_than`` and ``newer_than`` are ids; at most one of them is used.
    """
    actor.require(Capability.VIEW_AUDIT)
    events = _fitting(wanted)
    if newer_than is not None:
        found = _ordered(actor, events.filter(id__gt=newer_than), "id", size + 1)
        shown = events_shown(actor=actor, events=found[:size][::-1])
        return Page(rows=shown, has_newer=len(found) > size, has_older=True)
    if older_than is not None:
        events = events.filter(id__lt=older_than)
    found = _ordered(actor, events, "-id", size + 1)
    shown = events_shown(actor=actor, events=found[:size])
    return Page(rows=shown, has_newer=older_than is not None, has_older=len(found) > size)


def audit_walk(*, actor: Actor, wanted: AuditFilter, before: int) -> Iterator[AuditEvent]:
    """All that fit with an id below ``before``, newest first; few of them in memory at a time."""
    edge: int | None = before
    while edge is not None:
        page = audit_search(actor=actor, wanted=wanted, size=EXPORTED_AT_ONCE, older_than=edge)
        yield from page.rows
        edge = page.rows[-1].pk if page.has_older else None


def searched(
    *, actor: Actor, events: QuerySet[AuditEvent], order: str, size: int
) -> QuerySet[AuditEvent]:
    """``size`` of ``events`` that the actor may see, in the order of ids.

    Those of the site and those of none apart, each by its own stretch of the index: asked for as
    one, a site of few events would have those of all others walked through.
    """
    parts = [events.filter(site_id__isnull=True)]
    if actor.site_id is not None:
        parts.append(events.filter(site_id=actor.site_id))
    first, *others = [part.order_by(order)[:size] for part in parts]
    return first.union(*others, all=True).order_by(order)[:size] if others else first


def _ordered(actor: Actor, events: QuerySet[AuditEvent], order: str, size: int) -> list[AuditEvent]:
    return list(searched(actor=actor, events=events, order=order, size=size))


def _fitting(wanted: AuditFilter) -> QuerySet[AuditEvent]:
    events = AuditEvent.objects.all()
    if wanted.action:
        events = events.filter(action=wanted.action)
    if wanted.object_id:
        events = _about(events, wanted.object_id)
    if wanted.case is not None:
        events = events.filter(case_id=wanted.case)
    if wanted.actor:
        user = User.objects.filter(username=wanted.actor).values_list("pk", flat=True).first()
        events = (
            events.filter(user_id=user)
            if user is not None
            else events.filter(user_id__isnull=True, actor_label=wanted.actor)
        )
    if wanted.since is not None:
        low = _first_id(wanted.since, -SLACK)
        events = events.filter(at__gte=wanted.since, **({} if low is None else {"id__gte": low}))
    if wanted.until is not None:
        high = _first_id(wanted.until, SLACK)
        events = events.filter(at__lt=wanted.until, **({} if high is None else {"id__lt": high}))
    return events


def _about(events: QuerySet[AuditEvent], object_id: str) -> QuerySet[AuditEvent]:
    """Those about an object; what can be the beginning of a UUID is taken for one.

    ``LIKE`` finds its rows by the index in few collations, a range in all: hyphens sort before the
    digits or count for nothing, and "g" comes after every digit of a UUID.
    """
    begin = object_id.lower()
    if not _BEGINS_A_UUID.fullmatch(begin):
        return events.filter(object_id=object_id)
    return events.filter(
        object_id__gte=begin, object_id__lt=f"{begin}g", object_id__startswith=begin
    )


def _first_id(at: datetime, slack: timedelta) -> int | None:
    """As `_FIRST_ID` says, of ``at`` and the slack; None where the trail is empty."""
    try:
        moment = at + slack
    except OverflowError:
        # The first or last day a date can have: all of the trail lies on one side of it.
        moment = at
    table = connection.ops.quote_name(AuditEvent._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(_FIRST_ID.format(table=table), [moment, moment])
        row = cursor.fetchone()
    return None if row is None else int(row[0])
