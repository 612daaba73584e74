"""The places of the portal, as data: what the rail shows and where a role lands first."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext_noop as _

from cases.access import Actor, Capability


@dataclass(frozen=True)
class Place:
    """One entry of the rail. ``pages`` are the URL names for which it is the current place."""

    label: str
    url_name: str
    icon: str
    capability: Capability
    pages: frozenset[str]


TRAINING_PAGES = frozenset(
    {
        "training-list",
        "training-start",
        "training-run",
        "snapshot-list",
        "schedule-list",
        "schedule-create",
        "schedule-detail",
        "gate-plan-list",
        "gate-plan-create",
        "gate-plan-detail",
        "model-compare",
        "candidate-list",
        "candidate-detail",
        "candidate-decide",
        "freeze-list",
    }
)
PEOPLE_PAGES = frozenset(
    {
        "user-list",
        "user-create",
        "user-detail",
        "user-roles",
        "user-password",
        "user-close",
        "user-open",
        "user-move",
        "site-list",
        "site-create",
        "site-detail",
        "token-list",
        "token-revoke",
    }
)
PLACES: tuple[Place, ...] = (
    Place(_("Overview"), "overview", "pulse", Capability.OPERATE, frozenset({"overview"})),
    Place(
        _("Worklist"),
        "worklist",
        "list",
        Capability.VIEW_CASES,
        frozenset(
            {
                "worklist",
                "worklist-bulk",
                "worklist-bulk-confirm",
                "worklist-search",
                "worklist-views",
                "worklist-view-change",
                "case-detail",
                "case-audit",
                "case-compare",
                "reading-write",
                "outcome-record",
                "finding-add",
                "result-withdraw",
                "patient-correct",
                "patient-erase",
                "identity-open",
            }
        ),
    ),
    Place(
        _("Submit"),
        "case-submit",
        "upload",
        Capability.SUBMIT,
        frozenset({"case-submit", "submission-pending"}),
    ),
    Place(
        _("Failed"),
        "dead-letter-list",
        "alert",
        Capability.OPERATE,
        frozenset({"dead-letter-list", "dead-letter-retry"}),
    ),
    Place(
        _("Models"),
        "model-list",
        "model",
        Capability.VIEW_MODELS,
        frozenset(
            {
                "model-list",
                "model-cards-compare",
                "model-detail",
                "model-live",
                "model-recall",
                "model-shadow",
                "model-reject",
                "model-roll-back",
                "promotion-approve",
                "promotion-decline",
                "promotion-detail",
                "promotion-request",
                "promotion-withdraw",
                "serving",
                "serving-resume",
                "serving-suspend",
                "watch",
            }
        )
        | TRAINING_PAGES,
    ),
    Place(
        _("Reader first"),
        "reader-first",
        "lock",
        Capability.OPERATE,
        frozenset({"reader-first", "reading-changes"}),
    ),
    Place(
        _("Webhooks"),
        "webhook-list",
        "hook",
        Capability.OPERATE,
        frozenset(
            {
                "webhook-list",
                "webhook-create",
                "webhook-detail",
                "webhook-secret",
                "webhook-replay",
                "webhook-delivery",
            }
        ),
    ),
    Place(_("People"), "user-list", "people", Capability.MANAGE_USERS, PEOPLE_PAGES),
    Place(_("Audit"), "audit-list", "audit", Capability.VIEW_AUDIT, frozenset({"audit-list"})),
)


def places_for(actor: Actor) -> tuple[Place, ...]:
    return tuple(place for place in PLACES if actor.can(place.capability))
