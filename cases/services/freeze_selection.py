"""Which accepted images go into a snapshot, and why others do not.

Locked test set: all images of patients who are locked, and of a share of the patients who are on
neither side yet, those with a malignant image and the others apart, in the order of their keys
(which is no order a person could choose); never an image whose label rests on a reader alone.
Training: all images of every patient who is not locked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q

from cases.models import (
    FrozenPicture,
    PatientPartition,
    SnapshotFreeze,
    TrainingCandidate,
    TrainingSnapshot,
)
from cases.selectors.curation import SPEAKING, accepted_trainable, withdrawn_images
from cases.services.locked_sets import (
    DocumentUnreadableError,
    Hashes,
    PatientsUnknownError,
    Pictures,
    pictures_of,
    trained_on,
)
from cases.services.patient_keys import patient_key, patient_key_id
from cases.states import CandidateState
from cases.vocabulary import Label, OutcomeBasis, SnapshotRole

_UNSIGNED = (1 << 64) - 1


class CannotFreezeError(Exception):
    """A freeze cannot go on. ``code`` and ``detail`` (no patient data) are its job's end."""

    def __init__(self, code: str, detail: str, *, transient: bool = False) -> None:
        super().__init__(f"{code}: {detail}")
        self.code, self.detail, self.transient = code, detail, transient


@dataclass(frozen=True)
class FreezeItem:
    """An accepted image as it goes into a snapshot: no identity, but for the patient's key."""

    candidate_id: UUID
    # Of the decision: another one is another picture or label.
    version: int
    image_id: UUID
    outcome_id: UUID
    patient_key: str
    label: str
    basis: str
    pathology: str
    device: str
    side: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class FreezeSelection:
    """What a freeze takes, what it leaves out (number by why), and the snapshots that none of its
    pictures may look like."""

    items: tuple[FreezeItem, ...]
    left_out: dict[str, int]
    against: tuple[str, ...]
    source: str

    def holds(self, kept: Iterable[FreezeItem], against: Iterable[str]) -> bool:
        """Whether ``kept``, compared with ``against``, may still be stored by this selection."""
        return set(kept) <= set(self.items) and set(self.against) <= set(against)


def freeze_select(freeze: SnapshotFreeze) -> FreezeSelection:
    """What ``freeze`` takes as things are now.

    A patient who is in a snapshot of the other side counts as on that side, also where it was
    imported and nobody was put on a side for it. Raises ``CannotFreezeError``.
    """
    site = freeze.job.site
    _same_secret()
    accepted = TrainingCandidate.objects.filter(
        image__case__site=site, state=CandidateState.ACCEPTED
    ).count()
    candidates = list(accepted_trainable(site_id=site.pk).order_by("pk"))
    left = Counter(not_in_research=accepted - len(candidates))
    items = [_item(candidate) for candidate in _sound(candidates, site.pk, left)]
    sides, both = _sides({item.patient_key for item in items})
    left["patient_on_both_sides"] = sum(item.patient_key in both for item in items)
    items = [item for item in items if item.patient_key not in both]
    against = _against(SnapshotRole(freeze.role))
    is_locked = freeze.role == SnapshotRole.LOCKED
    other_side = SnapshotRole.TRAINING if is_locked else SnapshotRole.LOCKED
    for pictures in pictures_against(against):
        sides |= dict.fromkeys(pictures.patients | pictures.filed, other_side.value)
    if is_locked:
        items = _locked(items, sides, freeze.share, left)
    else:
        items = _training(items, sides, left)
    return FreezeSelection(
        items=tuple(items),
        left_out={why: n for why, n in sorted(left.items()) if n},
        against=against,
        source=site.code,
    )


def _same_secret() -> None:
    """Keys of two secrets cannot be compared: a patient would be new, and could change sides."""
    if PatientPartition.objects.exclude(key_id=patient_key_id()).exists():
        raise CannotFreezeError(
            "patient_key_changed",
            "BCWEB_PATIENT_KEY is not the one that earlier snapshots were made with, so nobody "
            "could tell which patients are locked. Set it back.",
        )


def _sound(
    candidates: list[TrainingCandidate], site_id: UUID, left: Counter[str]
) -> list[TrainingCandidate]:
    """Without those whose answer was withdrawn, and those that look like an image of another
    label which is accepted or waits."""
    withdrawn = withdrawn_images(candidate.image_id for candidate in candidates)
    speaking = TrainingCandidate.objects.filter(
        image__case__site_id=site_id, state__in=SPEAKING, image__phash__isnull=False
    ).exclude(label="")
    known: dict[str, set[int]] = defaultdict(set)
    for label, phash in speaking.values_list("label", "image__phash"):
        if phash is not None:
            known[label].add(phash & _UNSIGNED)
    hashes = {label: Hashes(numbers) for label, numbers in known.items()}
    sound = []
    for candidate in candidates:
        phash = candidate.image.phash
        if candidate.image_id in withdrawn:
            left["withdrawn"] += 1
        elif phash is not None and any(
            others.has_near(phash & _UNSIGNED)
            for label, others in hashes.items()
            if label != candidate.label
        ):
            left["contradicted"] += 1
        else:
            sound.append(candidate)
    return sound


def _sides(keys: set[str]) -> tuple[dict[str, str], set[str]]:
    """The side of each patient who is on one, and who is on both.

    A patient is on the side where their key stands, and on that of each frozen picture that turned
    out to be theirs: it was frozen under the key of the patient it was mistaken for.
    """
    sides: dict[str, str] = dict(
        PatientPartition.objects.filter(pk__in=keys).values_list("pk", "role")
    )
    patient = "candidate__image__case__patient"
    owners = FrozenPicture.objects.filter(**{f"{patient}__erased_at": None}).order_by()
    both = set()
    for issuer, patient_id, role in owners.values_list(
        f"{patient}__issuer", f"{patient}__patient_id", "role"
    ).distinct():
        key = patient_key(issuer=issuer, patient_id=patient_id)
        if key in keys and sides.setdefault(key, role) != role:
            both.add(key)
    return sides, both


def _item(candidate: TrainingCandidate) -> FreezeItem:
    image, outcome = candidate.image, candidate.outcome
    # As the database holds of what was accepted.
    assert outcome is not None and candidate.box is not None
    patient = image.case.patient
    x0, y0, x1, y1 = candidate.box
    return FreezeItem(
        candidate_id=candidate.pk,
        version=candidate.version,
        image_id=image.pk,
        outcome_id=outcome.pk,
        patient_key=patient_key(issuer=patient.issuer, patient_id=patient.patient_id),
        label=candidate.label,
        basis=candidate.basis,
        pathology=outcome.pathology if candidate.basis == OutcomeBasis.HISTOLOGY else "",
        device=image.manufacturer_model,
        side=image.laterality,
        box=(x0, y0, x1, y1),
    )


def _training(
    items: list[FreezeItem], sides: dict[str, str], left: Counter[str]
) -> list[FreezeItem]:
    taken = [item for item in items if sides.get(item.patient_key) != SnapshotRole.LOCKED]
    left["patient_is_locked"] += len(items) - len(taken)
    return taken


def _locked(
    items: list[FreezeItem], sides: dict[str, str], share: int, left: Counter[str]
) -> list[FreezeItem]:
    known = [item for item in items if item.basis != OutcomeBasis.READER_ONLY]
    left["by_a_reader_alone"] += len(items) - len(known)
    free = [item for item in known if sides.get(item.patient_key) != SnapshotRole.TRAINING]
    left["patient_is_in_training"] += len(known) - len(free)
    locked = {key for key, side in sides.items() if side == SnapshotRole.LOCKED}
    locked |= _drawn([item for item in free if item.patient_key not in sides], share)
    taken = [item for item in free if item.patient_key in locked]
    left["patient_not_drawn"] += len(free) - len(taken)
    return taken


def _drawn(items: list[FreezeItem], share: int) -> set[str]:
    """``share`` of 100 patients, rounded up, of those with a malignant image and of the others."""
    malignant = {item.patient_key for item in items if item.label == Label.MALIGNANT}
    others = {item.patient_key for item in items} - malignant
    return {
        key for keys in (malignant, others) for key in sorted(keys)[: -(-len(keys) * share // 100)]
    }


def _against(role: SnapshotRole) -> tuple[str, ...]:
    """For training: what is locked. For a locked set: what was or is being trained from."""
    if role is SnapshotRole.TRAINING:
        chosen = Q(role=SnapshotRole.LOCKED) | Q(gate_plans__isnull=False)
    else:
        chosen = trained_on()
    snapshots = TrainingSnapshot.objects.filter(chosen).order_by("pk").distinct()
    return tuple(snapshots.values_list("pk", flat=True))


def pictures_against(snapshot_ids: Iterable[str]) -> list[Pictures]:
    """What stands in these snapshots. Raises ``CannotFreezeError``: what cannot be read, or whose
    patients nobody knows, cannot be compared."""
    snapshots = TrainingSnapshot.objects.filter(pk__in=snapshot_ids)
    try:
        return [pictures_of(snapshot) for snapshot in snapshots]
    except PatientsUnknownError as error:
        raise CannotFreezeError(
            "snapshot_patients_unknown",
            f"Nobody knows the patients of snapshot {str(error)[:8]}, so they cannot be compared. "
            "Import its folder again.",
        ) from error
    except DocumentUnreadableError as error:
        raise CannotFreezeError(
            "snapshot_unreadable",
            "A stored snapshot is damaged, so the pictures cannot be compared with it.",
        ) from error
