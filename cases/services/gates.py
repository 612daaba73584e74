"""Gate plans: what is declared before a training, and what keeps its locked set locked."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Q

from cases.access import Actor, Capability, Role
from cases.errors import FieldInvalid, PermissionDenied
from cases.models import (
    GatePlan,
    ModelVersion,
    PatientPartition,
    TrainingRun,
    TrainingSnapshot,
    User,
)
from cases.selectors.snapshots import at_site, snapshot_void_count
from cases.services.audit import audit_record
from cases.services.clock import clock_now
from cases.services.gate_fields import GatePlanFields, plan_sha256
from cases.services.locked_sets import (
    DocumentUnreadableError,
    document_of,
    malignant_patients,
    pictures_of,
    shared,
    sources_of,
    trained_on,
)
from cases.services.locks import advisory_lock
from cases.vocabulary import MODEL_LINE, Label, SnapshotRole

UNREADABLE = "The stored document of this snapshot cannot be read. Import its folder again."


@transaction.atomic
def gate_plan_create(*, actor: Actor, fields: GatePlanFields) -> GatePlan:
    """Declare a plan; from then on its locked set is locked for all trainings, for ever.

    Raises ``FieldInvalid``: for a name the site has already; for approvers who are not that at
    this site; for a locked set that is not known or another site's, or whose pictures are not
    known, that has no malignant pictures or no others, alike pictures of different classes, no
    picture of a source that a limit names, or something in common with what was, is being or is
    meant to be trained from.
    """
    actor.require(Capability.TRAIN)
    site_id = actor.own_site
    # No training is asked for meanwhile: the two rules look at each other's rows.
    advisory_lock("training", MODEL_LINE, wait=True)
    errors: dict[str, list[str]] = {}
    _approvers_check(site_id, fields.approvers, errors)
    snapshot = TrainingSnapshot.objects.filter(at_site(site_id), pk=fields.locked_set).first()
    malignant = 0
    hindrance = _hindrance(snapshot)
    if hindrance or snapshot is None:
        errors["locked_set"] = [hindrance]
    else:
        malignant = _document_check(snapshot, fields, errors, site_id=site_id)
    if errors or snapshot is None:
        raise FieldInvalid(errors=errors)
    document = fields.document()
    try:
        with transaction.atomic():
            plan = GatePlan.objects.create(
                site_id=site_id,
                name=fields.name,
                locked_set=snapshot,
                document=document,
                sha256=plan_sha256(document),
                malignant_patients=malignant,
                created_by=actor.label,
                created_by_user_id=actor.user_id,
                created_at=clock_now(),
            )
    except IntegrityError as error:
        raise FieldInvalid(errors={"name": ["There is a plan of this name."]}) from error
    audit_record(
        actor=actor,
        action="gate_plan.created",
        object_type="gate_plan",
        object_id=plan.pk,
        site_id=site_id,
        detail={
            "plan_sha256": plan.sha256,
            "locked_set": snapshot.pk,
            "limits": len(fields.limits),
        },
    )
    plan.refresh_from_db()
    return plan


def _approvers_check(
    site_id: UUID, approvers: tuple[str, ...], errors: dict[str, list[str]]
) -> None:
    known = set(
        User.objects.filter(
            site_id=site_id,
            is_active=True,
            username__in=approvers,
            role_rows__role=Role.APPROVER.value,
        ).values_list("username", flat=True)
    )
    wrong = [name for name in approvers if name not in known]
    if wrong:
        errors["approvers"] = [f"{name[:60]} is no approver of your site." for name in wrong]


def _hindrance(snapshot: TrainingSnapshot | None) -> str:
    """Why a snapshot cannot be a locked set, by its row; "" where it can."""
    if snapshot is None:
        return "There is no snapshot with this id."
    if not snapshot.data_root:
        return (
            "Nobody has told where the pictures of this snapshot lie. Import their folder again "
            "(manage.py import_dataset)."
        )
    taken_back = snapshot_void_count(snapshot)
    if taken_back:
        return (
            f"{taken_back} of its pictures may not be used any more: their patient opted out or "
            "was erased, or they are not accepted any more. Freeze a new locked set."
        )
    if snapshot.role == SnapshotRole.TRAINING:
        return "It was made of accepted images to train from; its patients stay on that side."
    malignant = snapshot.classes.get(Label.MALIGNANT.value, 0)
    if not malignant or malignant == sum(snapshot.classes.values()):
        return "A locked set needs malignant pictures and others; one of the two is missing."
    conflicts = snapshot.grouping.get("conflicting_groups", 0)
    if conflicts:
        return (
            f"Alike pictures of it have different classes ({conflicts} "
            f"group{'' if conflicts == 1 else 's'}). Settle which is right, and import the folder "
            "again."
        )
    return ""


def _document_check(
    snapshot: TrainingSnapshot,
    fields: GatePlanFields,
    errors: dict[str, list[str]],
    *,
    site_id: UUID,
) -> int:
    """Number of malignant patients of the locked set; adds to ``errors`` what is wrong."""
    try:
        document = document_of(snapshot)
    except DocumentUnreadableError:
        errors["locked_set"] = [UNREADABLE]
        return 0
    sources = sources_of(document)
    told = [
        f"Limit {number}: the locked set has no source {limit.source[:60]}; it has "
        f"{', '.join(sources)}."
        for number, limit in enumerate(fields.limits, start=1)
        if limit.source is not None and limit.source not in sources
    ]
    if told:
        errors["limits"] = told
    common = _trained_in_common(snapshot, site_id)
    if common:
        errors["locked_set"] = [common]
    return malignant_patients(document)


def _named(snapshot: TrainingSnapshot, site_id: UUID) -> str:
    """A snapshot for a reader of the site; "" for another site's, which they may not know of."""
    if not TrainingSnapshot.objects.filter(at_site(site_id), pk=snapshot.pk).exists():
        return ""
    return f"{snapshot.name} ({snapshot.pk[:8]})"


def _trained_in_common(locked: TrainingSnapshot, site_id: UUID) -> str:
    """What it shares with what was, is being or is meant to be trained from, in words."""
    trained = TrainingSnapshot.objects.filter(trained_on()).distinct()
    told = _in_common(locked, trained)
    if told:
        other, words = told
        name = _named(other, site_id)
        whose = f"snapshot {name}" if name else "a snapshot of another site"
        return (
            f"It shares {words} with {whose}, from which a model was, is being or is meant to be "
            "trained. A locked set holds pictures that nobody trains on."
        )
    return _on_the_training_side(locked)


def _on_the_training_side(locked: TrainingSnapshot) -> str:
    """How many of its patients a freeze has put into training for ever, in words."""
    try:
        own = pictures_of(locked)
    except DocumentUnreadableError as error:
        return f"It shares {error.words} with the patients in training."
    in_training = PatientPartition.objects.filter(role=SnapshotRole.TRAINING)
    count = len((own.patients | own.filed).intersection(in_training.values_list("pk", flat=True)))
    if not count:
        return ""
    return (
        f"{count} patient{' of it is' if count == 1 else 's of it are'} in training by accepted "
        "images, for ever. A locked set holds pictures that nobody trains on."
    )


def _in_common(
    snapshot: TrainingSnapshot, others: Iterable[TrainingSnapshot]
) -> tuple[TrainingSnapshot, str] | None:
    """The first of ``others`` that shares pictures or patients, and how many, in words.

    What cannot be read cannot be compared, and counts as shared.
    """
    own = None
    for other in others:
        try:
            own = own or pictures_of(snapshot)
            words = shared(own, pictures_of(other)).words
        except DocumentUnreadableError as error:
            words = error.words
        if words:
            return other, words
    return None


def locked_pictures_refuse(snapshot: TrainingSnapshot, *, site_id: UUID) -> None:
    """``FieldInvalid`` on ``snapshot`` where it shares something with the locked set of any plan,
    or with accepted images that were locked when they were frozen.

    The caller holds the lock of the training line.
    """
    locked = TrainingSnapshot.objects.filter(
        Q(gate_plans__isnull=False) | Q(role=SnapshotRole.LOCKED)
    ).distinct()
    found = _in_common(snapshot, locked)
    if found is None:
        return
    other, words = found
    raise FieldInvalid(
        errors={
            "snapshot": [
                f"It shares {words} with {_locked_words(other, site_id)}, on which models are "
                "judged. Nobody trains on those. Choose another snapshot."
            ]
        }
    )


def _locked_words(locked: TrainingSnapshot, site_id: UUID) -> str:
    """Which locked set it is, for a reader of the site."""
    plan = locked.gate_plans.filter(site_id=site_id).order_by("created_at").first()
    if plan is not None:
        return f"the locked set of plan {plan.name}"
    if locked.gate_plans.exists():
        return "the locked set of a plan of another site"
    name = _named(locked, site_id)
    return f"the locked set {name}" if name else "a locked set of another site"


def gate_plan_for_run(*, actor: Actor, plan_id: UUID, site_id: UUID) -> GatePlan:
    """The plan a run is asked for with. ``FieldInvalid`` on ``plan`` where there is none."""
    actor.require(Capability.TRAIN)
    plan = GatePlan.objects.filter(pk=plan_id, site_id=site_id).first()
    if plan is None:
        raise FieldInvalid(errors={"plan": ["There is no gate plan with this id."]})
    return plan


def approvers_named(model: ModelVersion) -> frozenset[str] | None:
    """Who alone may approve ``model``, by the plans of its trainings; None: every approver."""
    named = [
        frozenset(run.plan.document["approvers"])
        for run in TrainingRun.objects.select_related("plan").filter(
            Q(model_version=model) & Q(plan__isnull=False)
        )
        if run.plan is not None and run.plan.document["approvers"]
    ]
    return frozenset.intersection(*named) if named else None


def approver_require(model: ModelVersion, user_id: UUID) -> None:
    """``PermissionDenied`` for a person whom the plan of ``model`` does not name."""
    named = approvers_named(model)
    if named is None:
        return
    if not User.objects.filter(pk=user_id, username__in=named).exists():
        raise PermissionDenied(
            "The gate plan of this model names who may approve it: "
            f"{', '.join(sorted(named)) or 'nobody'}."
        )
