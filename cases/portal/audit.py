"""The audit trail as its page and its export tell it: filters, words, and where objects stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from uuid import UUID

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext, override

from cases.access import Actor, Capability
from cases.errors import FieldInvalid
from cases.models import AuditEvent
from cases.portal.action_words import ACTIONS
from cases.portal.history import who_of
from cases.portal.moments import typed_moment
from cases.portal.wording import action_words
from cases.reports.csv_lines import csv_lines
from cases.selectors.audit_search import AuditFilter

# Beat seals each minute; an event that has waited longer says that something stands still.
SEAL_OVERDUE = timedelta(minutes=10)

FIELDS = ("action", "actor", "object_id", "case", "since", "until")
COLUMNS = (
    "id", "at", "actor_kind", "actor", "what", "action", "object_type", "object_id", "case_id",
    "changed_fields", "user_id", "token_id", "request_id",
)  # fmt: skip

# Where an object stands, and who may look there; those of a case stand on its page.
_PAGES: dict[str, tuple[str, Capability]] = {
    "model": ("model-detail", Capability.VIEW_MODELS),
    "user": ("user-detail", Capability.MANAGE_USERS),
    "training_run": ("training-run", Capability.VIEW_MODELS),
    "schedule": ("schedule-detail", Capability.VIEW_MODELS),
    "gate_plan": ("gate-plan-detail", Capability.VIEW_MODELS),
    "webhook": ("webhook-detail", Capability.OPERATE),
    "candidate": ("candidate-detail", Capability.CURATE),
}
_LISTS: dict[str, tuple[str, Capability]] = {
    "site": ("site-list", Capability.MANAGE_USERS),
    "token": ("token-list", Capability.MANAGE_USERS),
    "snapshot": ("snapshot-list", Capability.VIEW_MODELS),
    "freeze": ("freeze-list", Capability.CURATE),
    "serving": ("serving", Capability.OPERATE),
}


def action_choices(chosen: str) -> list[tuple[str, str]]:
    """Each action and its words, "looked at the case", by these; also one that is not known any
    more."""
    thing = gettext("an image")
    names = {*ACTIONS, chosen} - {""}
    choices = [(name, action_words(name, thing=thing, detail={})) for name in names]
    return sorted(choices, key=lambda choice: (choice[1].casefold(), choice[0]))


def typed_fields(request: HttpRequest) -> dict[str, str]:
    return {name: request.GET.get(name, "").replace("\x00", "").strip()[:160] for name in FIELDS}


def typed_filter(request: HttpRequest) -> AuditFilter:
    """The filter in the query. ``FieldInvalid`` for a time or an id of a case that is none."""
    typed = typed_fields(request)
    errors: dict[str, list[str]] = {}
    moments: dict[str, datetime | None] = {}
    for name in ("since", "until"):
        try:
            moments[name] = typed_moment(request, name)
        except FieldInvalid as error:
            errors |= error.errors or {}
    case = None
    if typed["case"]:
        try:
            case = UUID(typed["case"])
        except ValueError:
            errors["case"] = [
                gettext("Enter the whole id, as it stands in the address of the case's page.")
            ]
    if errors:
        raise FieldInvalid(errors=errors)
    return AuditFilter(
        action=typed["action"],
        actor=typed["actor"],
        object_id=typed["object_id"][:64],
        case=case,
        **moments,
    )


def object_url(event: AuditEvent, actor: Actor) -> str:
    """Where what the event is about stands; "" where it has no page, or none for this person."""
    if event.case_id is not None:
        if not actor.can(Capability.VIEW_CASES):
            return ""
        anchor = f"#image-{event.object_id}" if event.object_type == "image" else ""
        return reverse("case-detail", args=[event.case_id]) + anchor
    name, capability = _LISTS.get(event.object_type, ("", None))
    if capability is not None:
        return reverse(name) if actor.can(capability) else ""
    name, capability = _PAGES.get(event.object_type, ("", None))
    if capability is None or not actor.can(capability):
        return ""
    try:
        return reverse(name, args=[UUID(event.object_id)])
    except ValueError:
        return ""


def audit_csv(events: Iterable[AuditEvent]) -> Iterator[str]:
    """The events as lines. Without details: what somebody wrote as a reason stays where it is."""
    return csv_lines(COLUMNS, map(_row, events))


def _row(event: AuditEvent) -> tuple[object, ...]:
    # Programs read the file: in one language, whoever takes it.
    with override("en"):
        who, what = who_of(event), _what(event)
    return (
        event.pk,
        event.at.isoformat(),
        event.actor_kind,
        who,
        what,
        event.action,
        event.object_type,
        event.object_id,
        event.case_id or "",
        " ".join(event.changed_fields),
        event.user_id or "",
        event.token_id or "",
        event.request_id,
    )


def _what(event: AuditEvent) -> str:
    known = {name: event.detail[name] for name in ("images", "cases") if name in event.detail}
    return action_words(event.action, thing="", detail=known)
