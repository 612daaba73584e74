"""What radiologists read: drafts that change, signed readings and addenda that never do."""

from __future__ import annotations

import uuid

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from cases.models.checks import choice_check
from cases.models.imaging import Case, Finding
from cases.models.lexicon import Lexicon, lexicon_constraints
from cases.models.people import User
from cases.vocabulary import BiradsCategory, BiradsEdition, ReadingLabel

MAX_READING_TEXT = 4000


class Reading(Lexicon):
    """One person's reading of a finding, or of the case as a whole (no finding).

    What was seen of a finding stands in the words of the lexicon. A draft until ``signed_at``: from
    then on the database refuses every change (migration 0005).
    An addendum is a signed row of its own that points to the reading it adds to.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    case = models.ForeignKey(Case, on_delete=models.PROTECT, related_name="readings")
    finding = models.ForeignKey(
        Finding, on_delete=models.PROTECT, related_name="readings", null=True, blank=True
    )
    addendum_to = models.ForeignKey(
        "self", on_delete=models.PROTECT, related_name="addenda", null=True, blank=True
    )
    reader = models.ForeignKey(User, on_delete=models.PROTECT, related_name="readings")
    # "" where a draft has none yet, or an addendum leaves it as it is.
    category = models.CharField(
        max_length=2, blank=True, choices=[(c.value, c.value) for c in BiradsCategory]
    )
    edition = models.CharField(
        max_length=20,
        choices=[(e.value, e.value) for e in BiradsEdition],
        default=BiradsEdition.FIFTH_2013.value,
    )
    label = models.CharField(
        max_length=12,
        choices=[(v.value, v.value) for v in ReadingLabel],
        default=ReadingLabel.NONE.value,
    )
    text = models.TextField(blank=True, max_length=MAX_READING_TEXT)
    # Counts the saves of a draft: a tab that knows an older one is told so.
    version = models.PositiveIntegerField(default=1)
    # Whether this person had seen any answer of the case before signing; null in a draft.
    ai_seen = models.BooleanField(null=True)
    # Where the site read first at the signature: whether the model's answer was open to this person
    # by then. Null in a draft, and where the site did not read first.
    after_reveal = models.BooleanField(null=True)
    # The answers that were live when it was signed. A later rerun stands beside them.
    results_of_record = ArrayField(models.UUIDField(), default=list)
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())
    signed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["created_at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(category="") | Q(category__in=[c.value for c in BiradsCategory]),
                name="reading_category_known",
            ),
            choice_check("edition", BiradsEdition, name="reading_edition_known"),
            choice_check("label", ReadingLabel, name="reading_label_known"),
            models.CheckConstraint(
                condition=Q(signed_at__isnull=True, ai_seen__isnull=True, results_of_record=[])
                | Q(signed_at__isnull=False, ai_seen__isnull=False),
                name="reading_signed_says_what_was_seen",
            ),
            models.CheckConstraint(
                condition=Q(after_reveal__isnull=True) | Q(signed_at__isnull=False),
                name="reading_draft_reveals_nothing",
            ),
            models.CheckConstraint(
                condition=Q(signed_at__isnull=True)
                | Q(addendum_to__isnull=False)
                | ~Q(category=""),
                name="reading_signed_has_a_category",
            ),
            models.UniqueConstraint(
                fields=["reader", "case", "finding", "addendum_to"],
                condition=Q(signed_at__isnull=True),
                nulls_distinct=False,
                name="reading_one_draft",
            ),
            models.UniqueConstraint(
                fields=["reader", "case", "finding"],
                condition=Q(signed_at__isnull=False, addendum_to__isnull=True),
                nulls_distinct=False,
                name="reading_one_signed",
            ),
            *lexicon_constraints(),
        ]
        indexes = [models.Index(fields=["case", "signed_at"], name="reading_of_case")]
