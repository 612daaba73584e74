"""Webhooks, their messages and attempts in words; the forms as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.utils import timezone
from django.utils.translation import gettext

from cases.errors import FieldInvalid, UserFacingError
from cases.models import Webhook, WebhookDelivery
from cases.portal.forms import FieldSpec
from cases.portal.lazily import lazy as _
from cases.portal.training_forms import PlainForm, plain_form
from cases.portal.wording import StateWords
from cases.selectors.webhooks import Counts
from cases.vocabulary import AttemptOutcome, WebhookEvent, WebhookOff

EVENTS: dict[str, str] = {
    WebhookEvent.JOB_CREATED.value: _("A job waits"),
    WebhookEvent.JOB_STARTED.value: _("A worker took it"),
    WebhookEvent.JOB_REQUEUED.value: _("It waits again, after a fault that may pass"),
    WebhookEvent.JOB_SUCCEEDED.value: _("It is done"),
    WebhookEvent.JOB_FAILED.value: _("It failed for good"),
    WebhookEvent.JOB_CANCELLED.value: _("It was cancelled"),
}
PING = _("A test")
FINAL_EVENTS = (
    WebhookEvent.JOB_SUCCEEDED.value,
    WebhookEvent.JOB_FAILED.value,
    WebhookEvent.JOB_CANCELLED.value,
)
OFF: dict[str, str] = {
    WebhookOff.BY_HAND.value: _("Somebody switched it off."),
    WebhookOff.FAILING.value: _(
        "It was switched off because nothing could be delivered for too "
        "long. See below what went wrong; once the receiver is well, switch it on."
    ),
    WebhookOff.GONE.value: _(
        "It was switched off because the receiver said that the address is gone for good (410)."
    ),
}
STATES: dict[str, StateWords] = {
    "PENDING": StateWords("clock", "neutral", "", ""),
    "SENDING": StateWords("upload", "info", "", ""),
    "DELIVERED": StateWords("done", "good", "", ""),
    "FAILED": StateWords("alert", "alert", "", ""),
}
LABELS = {
    "PENDING": _("Waiting"),
    "SENDING": _("Being sent"),
    "DELIVERED": _("Delivered"),
    "FAILED": _("Given up"),
}
OUTCOMES: dict[str, str] = {
    AttemptOutcome.DELIVERED.value: _("Delivered"),
    AttemptOutcome.BAD_STATUS.value: _("Refused by the receiver"),
    AttemptOutcome.REDIRECTED.value: _("Redirected"),
    AttemptOutcome.GONE.value: _("Gone"),
    AttemptOutcome.TIMED_OUT.value: _("No answer in time"),
    AttemptOutcome.NOT_RESOLVED.value: _("Host not found"),
    AttemptOutcome.ADDRESS_REFUSED.value: _("Address not allowed"),
    AttemptOutcome.NOT_CONNECTED.value: _("No connection"),
    AttemptOutcome.TLS_FAILED.value: _("Certificate or TLS"),
    AttemptOutcome.BAD_ANSWER.value: _("No answer in HTTP"),
    AttemptOutcome.INTERRUPTED.value: _("Interrupted"),
    AttemptOutcome.SECRET_UNREADABLE.value: _("Secret unreadable"),
}

NAME = FieldSpec(
    "name", _("Name"), max_length=80, hint=_("What gets the messages, for example: PACS.")
)
URL = FieldSpec(
    "url",
    _("Address"),
    kind="url",
    max_length=500,
    hint=_(
        "Starts with https:// and is reachable from this service. Addresses inside a network "
        "are called only where the operator allows it."
    ),
)
SPECS = [NAME, URL]
SINCE = FieldSpec(
    "since",
    _("Since"),
    kind="datetime-local",
    hint=_(
        "All that happened from then on, with the ids of before: a receiver that keeps ids "
        "drops what it has."
    ),
    width="half",
)


@dataclass(frozen=True)
class WebhookForm:
    """Name and address as plain fields, the events as boxes."""

    plain: PlainForm
    events: tuple[tuple[str, str, bool], ...]
    event_errors: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[Any, ...]:
        return self.plain.problems

    @property
    def title(self) -> str:
        return self.plain.title


def webhook_form(
    raw: Mapping[str, Any] | None, error: UserFacingError | None = None
) -> WebhookForm:
    """The form with what was typed; at first with the events that most receivers want."""
    chosen = FINAL_EVENTS if raw is None else tuple(raw["events"])
    # Rendered with the events as a field of its own, so that its sentences are summed up too.
    specs = [*SPECS, FieldSpec("events", gettext("Told of"))]
    typed = {} if raw is None else {"name": raw["name"], "url": raw["url"], "events": ""}
    plain = plain_form(specs, typed, error=error)
    boxes = tuple((value, words, value in chosen) for value, words in EVENTS.items())
    return WebhookForm(plain, boxes, tuple(plain.fields["events"].errors))


def raw_of(webhook: Webhook) -> dict[str, Any]:
    return {"name": webhook.name, "url": webhook.url, "events": webhook.events}


def since_parse(text: str) -> datetime:
    """A moment as a form gives it, in the service's zone. ``FieldInvalid`` for what is none."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise FieldInvalid(errors={"since": [gettext("Give a date and a time.")]}) from None
    return timezone.make_aware(moment) if timezone.is_naive(moment) else moment


@dataclass(frozen=True)
class WebhookLine:
    """A webhook as lists and its page show it."""

    webhook: Webhook
    counts: Counts

    @property
    def host(self) -> str:
        return urlsplit(self.webhook.url).hostname or ""

    @property
    def state(self) -> StateWords:
        if not self.webhook.enabled:
            by_hand = self.webhook.off_reason == WebhookOff.BY_HAND
            return StateWords("slash" if by_hand else "alert", "neutral" if by_hand else "alert",
                              OFF[self.webhook.off_reason], "")  # fmt: skip
        if self.webhook.failing_since is not None:
            return StateWords("caution", "caution", gettext("The last attempts failed."), "")
        return StateWords("live", "good", "", "")

    @property
    def words(self) -> str:
        if not self.webhook.enabled:
            return gettext("Off")
        return gettext("Failing") if self.webhook.failing_since is not None else gettext("On")

    @property
    def events(self) -> list[str]:
        return [EVENTS[event] for event in self.webhook.events]


@dataclass(frozen=True)
class DeliveryLine:
    """A message as the log shows it."""

    delivery: WebhookDelivery

    @property
    def state(self) -> StateWords:
        return STATES[self.delivery.state]

    @property
    def words(self) -> str:
        return LABELS[self.delivery.state]

    @property
    def event(self) -> str:
        return EVENTS.get(self.delivery.kind, PING)

    @property
    def attempts(self) -> list[dict[str, Any]]:
        return [
            {"attempt": attempt, "words": OUTCOMES[attempt.outcome]}
            for attempt in self.delivery.attempts.all()
        ]

    @property
    def last(self) -> dict[str, Any] | None:
        attempts = self.attempts
        return attempts[-1] if attempts else None
