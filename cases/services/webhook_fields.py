"""The fields of a webhook, parsed and checked; and which addresses the settings allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from cases.errors import FieldInvalid
from cases.outbound import AddressRefused, OutboundRules, networks_of, target_of
from cases.vocabulary import SUBSCRIBABLE, WebhookEvent

MAX_NAME = 80


@dataclass(frozen=True)
class WebhookFields:
    name: str
    url: str
    events: tuple[WebhookEvent, ...]


def outbound_rules() -> OutboundRules:
    """What the settings allow beyond public https addresses."""
    return OutboundRules(
        allowed=networks_of(settings.BCWEB_WEBHOOK_ALLOW),
        http=settings.BCWEB_WEBHOOK_HTTP,
        ports=frozenset(settings.BCWEB_WEBHOOK_PORTS),
    )


def webhook_fields_parse(raw: Mapping[str, Any]) -> WebhookFields:
    """What was typed or sent as fields. ``FieldInvalid`` with a sentence for each wrong one.

    A host name is not resolved here: that is done, and checked, at every call.
    """
    errors: dict[str, list[str]] = {}
    name = str(raw.get("name") or "").replace("\x00", "").strip()
    if not 1 <= len(name) <= MAX_NAME:
        errors["name"] = [f"Give a name of up to {MAX_NAME} characters."]
    url = str(raw.get("url") or "").strip()
    try:
        target_of(url, outbound_rules())
    except AddressRefused as error:
        errors["url"] = [str(error)]
    events = _events(raw.get("events") or (), errors)
    if errors:
        raise FieldInvalid(errors=errors)
    return WebhookFields(name, url, events)


def _events(raw: Sequence[str], errors: dict[str, list[str]]) -> tuple[WebhookEvent, ...]:
    known = {event.value for event in SUBSCRIBABLE}
    chosen = [text for text in raw if text in known]
    if not chosen or len(chosen) != len(list(raw)):
        errors["events"] = [f"Choose at least one of {', '.join(sorted(known))}."]
    return tuple(event for event in SUBSCRIBABLE if event.value in chosen)
