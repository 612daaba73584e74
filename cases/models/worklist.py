"""The worklist: a row per case to filter and order by, and each person's saved views."""

from __future__ import annotations

import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from cases.models.checks import choice_check
from cases.models.imaging import Case
from cases.models.people import Site, User
from cases.vocabulary import PriorityRank
from cases.worklisting import WorkAnswer, WorkState

MAX_VIEW_NAME = 40


class WorklistEntry(models.Model):
    """What a case is filtered and ordered by. Derived: `services.worklist` makes it anew from the
    case's images, jobs, answers and readings whenever one of them changes (docs/adr/0018).

    ``id`` counts up in the order in which cases came into the list, so that one number says what
    is new since.
    """

    case = models.OneToOneField(Case, on_delete=models.CASCADE, related_name="entry")
    # Found by the indexes that begin with it.
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="+", db_index=False)
    arrived_at = models.DateTimeField()
    # The most urgent that any of its images was ever asked for.
    priority = models.PositiveSmallIntegerField(
        choices=[(p.value, p.name.lower()) for p in PriorityRank]
    )
    state = models.CharField(max_length=12, choices=[(s.value, s.value) for s in WorkState])
    answer = models.CharField(max_length=12, choices=[(a.value, a.value) for a in WorkAnswer])
    # The highest malignant score of the answers that stand; -1: none.
    top_score = models.FloatField()
    # Order of the worklist: `worklisting.RANK_READ` …, then microseconds, counted backwards where
    # the case is read, so that of these the newest comes first.
    rank = models.PositiveSmallIntegerField()
    place = models.BigIntegerField()

    class Meta:
        constraints = [
            choice_check("state", WorkState, name="worklist_state_known"),
            choice_check("answer", WorkAnswer, name="worklist_answer_known"),
            models.CheckConstraint(
                condition=Q(priority__in=[p.value for p in PriorityRank]),
                name="worklist_priority_known",
            ),
        ]
        indexes = [
            models.Index(fields=["site", "rank", "place", "case"], name="worklist_order"),
            models.Index(fields=["site", "-arrived_at", "-case"], name="worklist_newest"),
            models.Index(fields=["site", "-top_score", "-case"], name="worklist_score"),
            models.Index(fields=["site", "id"], name="worklist_number"),
            # What is rare is not searched for among all that is not.
            models.Index(
                fields=["site", "state", "-arrived_at", "-case"],
                condition=~Q(state=WorkState.DONE.value),
                name="worklist_unfinished",
            ),
            models.Index(
                fields=["site", "answer", "-arrived_at", "-case"],
                condition=~Q(
                    answer__in=[
                        WorkAnswer.ABOVE.value,
                        WorkAnswer.BELOW.value,
                        WorkAnswer.NO_LESION.value,
                    ]
                ),
                name="worklist_unanswered",
            ),
            models.Index(
                fields=["site", "priority", "-arrived_at", "-case"],
                condition=~Q(priority=PriorityRank.ROUTINE.value),
                name="worklist_urgent",
            ),
        ]


class WorklistChange(models.Model):
    """A case whose entry is to be made anew. Written by triggers (migration 0020), taken away by
    `services.worklist`; no foreign key, so that writing one waits for nobody."""

    case_id = models.UUIDField()


class SavedView(models.Model):
    """A person's own name for a set of filters. Never what was searched for: that may be a name."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="saved_views", db_index=False
    )
    name = models.CharField(max_length=MAX_VIEW_NAME)
    # As `WorklistFilters.as_words` gives them.
    filters = models.JSONField(default=dict)
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.CheckConstraint(condition=~Q(name=""), name="savedview_has_a_name"),
            models.UniqueConstraint(fields=["user", "name"], name="savedview_name_once"),
            models.UniqueConstraint(
                fields=["user"], condition=Q(is_default=True), name="savedview_one_default"
            ),
        ]
