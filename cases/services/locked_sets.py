"""Pictures on which models are judged and nobody trains: who shares what with a locked set.

By the documents of the snapshots in storage: the files' hashes, their perceptual hashes, and the
patients where a document names them by a key. A patient that is a number in a document means
something within it only: imported patients are compared by the keys that were made of their
source and id at the import, and with frozen ones by those of issuer and id (imported_patients.py).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.db.models import Q

from cases.models import TrainingSnapshot
from cases.services.imported_patients import imported_patients_of
from cases.states import JOB, JobState
from cases.storage import read_bytes
from cases.vocabulary import SnapshotRole

# As in ml.duplicates, whose rule calls two pictures near-duplicates up to this distance.
NEAR_BITS = 3
_BAND_BITS = 16
_BANDS = 4


class DocumentUnreadableError(Exception):
    """A snapshot's document is missing or damaged in storage."""

    words = "what cannot be told (a stored document is damaged)"


class PatientsUnknownError(DocumentUnreadableError):
    """A snapshot's document numbers its patients, and no key that can be compared tells who."""

    words = (
        "what cannot be told (nobody knows the patients of one of the two: import its folder again)"
    )


@dataclass(frozen=True)
class Pictures:
    """What a snapshot's document tells of its pictures.

    ``filed``: keys by which imported patients would be in a frozen snapshot; they are compared
    with ``patients`` only, as ids of two imported sources are not one another's.
    """

    hashes: frozenset[str]
    patients: frozenset[str]
    perceptual: frozenset[int]
    filed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Shared:
    """How much two snapshots have in common: equal files, patients, pictures that look alike."""

    same: int
    patients: int
    alike: int

    @property
    def words(self) -> str:
        """In words; "" where they share nothing."""
        told = [
            f"{count} {one if count == 1 else many}"
            for count, one, many in (
                (self.same, "picture", "pictures"),
                (self.patients, "patient", "patients"),
                (self.alike, "picture that looks the same", "pictures that look the same"),
            )
            if count
        ]
        return " and ".join(told)


def trained_on() -> Q:
    """The snapshots from which a model was, is being, or is meant to be trained."""
    on = [state.value for state in JOB.active] + [JobState.SUCCEEDED.value]
    return Q(role=SnapshotRole.TRAINING) | Q(runs__job__state__in=on)


def document_of(snapshot: TrainingSnapshot) -> dict[str, Any]:
    """The whole document. Raises ``DocumentUnreadableError``."""
    try:
        document: dict[str, Any] = json.loads(read_bytes(snapshot.storage_name))
    except (OSError, ValueError) as error:
        raise DocumentUnreadableError(str(error)) from error
    return document


def pictures_of(snapshot: TrainingSnapshot) -> Pictures:
    """What is known of a snapshot's pictures and patients.

    Raises ``DocumentUnreadableError``, and ``PatientsUnknownError`` where the document numbers
    patients whose keys were never made, or by an earlier version or another secret.
    """
    document = document_of(snapshot)
    told = _told(document)
    imported, filed = imported_patients_of(snapshot)
    if not imported and any(isinstance(entry.get("patient"), int) for entry in document["files"]):
        raise PatientsUnknownError(snapshot.pk)
    return replace(told, patients=told.patients | imported, filed=filed)


def _told(document: Mapping[str, Any]) -> Pictures:
    files = document["files"]
    patients = (entry.get("patient") for entry in files)
    perceptual = (entry.get("phash") for entry in files)
    return Pictures(
        hashes=frozenset(entry["sha256"] for entry in files),
        patients=frozenset(patient for patient in patients if isinstance(patient, str)),
        perceptual=frozenset(int(text, 16) for text in perceptual if text),
    )


def shared(theirs: Pictures, locked: Pictures) -> Shared:
    same = len(theirs.hashes & locked.hashes)
    alike = _near(theirs.perceptual - locked.perceptual, locked.perceptual)
    # Equal files look alike too: only what is beyond them counts as such.
    alike += max(0, len(theirs.perceptual & locked.perceptual) - same)
    patients = (theirs.patients | theirs.filed) & locked.patients
    patients |= theirs.patients & locked.filed
    return Shared(same, len(patients), alike)


class Hashes:
    """Perceptual hashes, unsigned 64-bit, to be asked for one that is near another.

    Of four bands of 16 bits at least one is equal where at most three bits differ.
    """

    def __init__(self, known: Iterable[int]) -> None:
        self._bands: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number in known:
            for key in _keys(number):
                self._bands[key].append(number)

    def has_near(self, one: int) -> bool:
        """Whether one of them differs from ``one`` in at most NEAR_BITS bits."""
        return any(
            (one ^ other).bit_count() <= NEAR_BITS
            for key in _keys(one)
            for other in self._bands.get(key, ())
        )


def _near(ours: Iterable[int], known: Iterable[int]) -> int:
    hashes = Hashes(known)
    return sum(hashes.has_near(one) for one in ours)


def _keys(number: int) -> list[tuple[int, int]]:
    mask = (1 << _BAND_BITS) - 1
    return [(band, (number >> (band * _BAND_BITS)) & mask) for band in range(_BANDS)]


def malignant_patients(document: Mapping[str, Any]) -> int:
    """Groups (a patient, or alike pictures) with a malignant picture; pictures where no group is
    told."""
    return len(
        {
            entry.get("group", f"picture {place}")
            for place, entry in enumerate(document["files"])
            if entry["class"] == "malignant"
        }
    )


def sources_of(document: Mapping[str, Any]) -> list[str]:
    """The sources of its pictures by the names the gate knows them by."""
    return sorted({entry["source"] or document["name"] for entry in document["sources"]})
