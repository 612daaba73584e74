"""Webhooks: who is told of moves of jobs, what is on its way to them, and how each attempt went.

No patient data: a message is made when it is sent, of ids, addresses, states and codes.
"""

from __future__ import annotations

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from cases.models.checks import choice_check
from cases.models.jobs import Job, JobEvent
from cases.models.people import Site
from cases.states import DELIVERY, DeliveryState
from cases.vocabulary import SUBSCRIBABLE, AttemptOutcome, WebhookEvent, WebhookOff

WAITING = sorted(state.value for state in DELIVERY.active)


class Webhook(models.Model):
    """An address of a site that is told of the moves of its jobs."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="webhooks")
    name = models.CharField(max_length=80)
    url = models.CharField(max_length=500)
    events = ArrayField(models.CharField(max_length=20))
    enabled = models.BooleanField(default=True)
    # Why it is off, and since when; empty while it is on.
    off_reason = models.CharField(max_length=12, blank=True)
    off_at = models.DateTimeField(null=True)
    # Sealed with a key that is not in the database; the one before signs too until then.
    secret = models.TextField()
    secret_made_at = models.DateTimeField(db_default=Now())
    previous_secret = models.TextField(blank=True)
    previous_until = models.DateTimeField(null=True)
    # The first failed attempt since the last one that went well.
    failing_since = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=160)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["site", "name"], name="webhook_name_once"),
            models.CheckConstraint(
                condition=Q(events__contained_by=[e.value for e in SUBSCRIBABLE])
                & Q(events__len__gt=0),
                name="webhook_events_known",
            ),
            models.CheckConstraint(
                condition=Q(enabled=True, off_reason="", off_at__isnull=True)
                | Q(
                    enabled=False,
                    off_reason__in=[why.value for why in WebhookOff],
                    off_at__isnull=False,
                ),
                name="webhook_off_exactly_with_a_reason",
            ),
        ]
        indexes = [models.Index(fields=["site"], condition=Q(enabled=True), name="webhook_told")]

    def __str__(self) -> str:
        return self.name


class WebhookDelivery(models.Model):
    """One message to one webhook. Its id is made of the webhook's and the event's: the same
    whenever it is sent, so that the receiver can drop what it has."""

    id = models.UUIDField(primary_key=True, editable=False)
    webhook = models.ForeignKey(Webhook, on_delete=models.PROTECT, related_name="deliveries")
    # A ping is about no job.
    event = models.ForeignKey(JobEvent, on_delete=models.PROTECT, related_name="+", null=True)
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="+", null=True)
    kind = models.CharField(max_length=20)
    state = models.CharField(max_length=12, default=DeliveryState.PENDING.value)
    # Counts every attempt there ever was, and is the fence of the one that runs.
    attempt = models.PositiveIntegerField(default=0)
    # Attempts since it was made, or asked for once more: these are bounded.
    tries = models.PositiveSmallIntegerField(default=0)
    # Not before; while it is being sent, the end of the deliverer's lease.
    available_at = models.DateTimeField(db_default=Now())
    worker = models.CharField(max_length=120, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    replayed_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            choice_check("state", DeliveryState, name="delivery_state_known"),
            choice_check("kind", WebhookEvent, name="delivery_kind_known"),
            models.CheckConstraint(
                condition=Q(state__in=WAITING, finished_at__isnull=True)
                | (~Q(state__in=WAITING) & Q(finished_at__isnull=False)),
                name="delivery_finished_at_exactly_when_ended",
            ),
            models.CheckConstraint(
                condition=Q(kind=WebhookEvent.PING.value, event__isnull=True, job__isnull=True)
                | (~Q(kind=WebhookEvent.PING.value) & Q(event__isnull=False, job__isnull=False)),
                name="delivery_names_its_event",
            ),
            models.UniqueConstraint(fields=["webhook", "event"], name="delivery_once"),
        ]
        indexes = [
            models.Index(
                fields=["webhook", "available_at"],
                condition=Q(state__in=WAITING),
                name="delivery_due",
            ),
            models.Index(
                fields=["webhook", "job", "event"],
                condition=Q(state__in=WAITING),
                name="delivery_order_of_job",
            ),
            models.Index(
                fields=["webhook"],
                condition=Q(state=DeliveryState.SENDING.value),
                name="delivery_busy",
            ),
            models.Index(fields=["webhook", "-created_at", "-id"], name="delivery_log"),
            models.Index(
                fields=["finished_at"],
                condition=~Q(state__in=WAITING),
                name="delivery_kept_until",
            ),
        ]


class WebhookAttempt(models.Model):
    """How one attempt went. What the receiver answered is not kept: it may hold anything."""

    delivery = models.ForeignKey(WebhookDelivery, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    outcome = models.CharField(max_length=20)
    status_code = models.PositiveSmallIntegerField(null=True)
    detail = models.CharField(max_length=300)
    duration_ms = models.FloatField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["number"]
        constraints = [
            choice_check("outcome", AttemptOutcome, name="attempt_outcome_known"),
            models.UniqueConstraint(fields=["delivery", "number"], name="attempt_once"),
        ]
