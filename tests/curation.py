"""Images on their way into training data, brought there through the services as in life."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any
from uuid import UUID

from cases.access import Actor
from cases.models import (
    CandidateEvent,
    Finding,
    FrozenPicture,
    Image,
    PatientPartition,
    Result,
    Site,
    SnapshotFreeze,
    TrainingCandidate,
    TrainingSnapshot,
)
from cases.selectors.curation import image_box
from cases.selectors.snapshots import snapshot_document
from cases.services.consent import patient_research_set
from cases.services.curation import candidate_accept, candidate_reject
from cases.services.freezes import freeze_fields_parse, freeze_request
from cases.services.leases import engine_jobs_claim
from cases.services.outcomes import OutcomeContent, outcome_record
from cases.services.patient_keys import patient_key, patient_key_id
from cases.services.results import result_store
from cases.vocabulary import OutcomeBasis, Pathology
from tests.cases.erasing import erase
from tests.factories import WORKER, answer, make_actor, submit, unique
from tests.phantoms import bmode_phantom, jpeg_bytes

HISTOLOGY = OutcomeBasis.HISTOLOGY
READER = OutcomeBasis.READER_ONLY
INVASIVE = OutcomeContent(Pathology.INVASIVE, HISTOLOGY)
BENIGN = OutcomeContent(Pathology.BENIGN, HISTOLOGY)
WHOLE = [0, 0, 500, 470]
BOX = [40, 20, 460, 470]


def other_hash() -> int:
    """A perceptual hash that no other picture of the tests is near."""
    return random.Random(unique()).getrandbits(64)


def read_image(image: Image, *, phash: int | None = None, box: list[int] | None = None) -> Result:
    """Store an answer for a waiting image, with its hash and its ultrasound region."""
    content = box or BOX
    transform = {
        "picture": [image.width, image.height],
        "content": content,
        "covered": content,
        "fit": "pad",
        "size": 224,
    }
    said = replace(answer(), phash=other_hash() if phash is None else phash, transform=transform)
    for claim in engine_jobs_claim(actor=WORKER, limit=1):
        assert claim.image_id == image.pk, "another image waits"
        result = result_store(actor=WORKER, job_id=claim.job_id, attempt=claim.attempt, answer=said)
        assert result is not None
        return result
    raise AssertionError("the image does not wait")


def small_jpeg(label: str) -> bytes:
    """A small picture that nobody has sent before."""
    kind = "malignant" if label == "malignant" else "benign"
    return jpeg_bytes(bmode_phantom(20_000 + unique(), (96, 110), kind))


def found(
    *, reader: Actor, content: OutcomeContent = BENIGN, phash: int | None = None, **more: Any
) -> TrainingCandidate:
    """A candidate that waits: an image of a finding, read by the model, its outcome recorded."""
    more.setdefault("laterality", "L")
    more.setdefault("clock_position", "2")
    box = more.pop("box", None)
    files = more.pop("files", [jpeg_bytes(bmode_phantom(10_000 + unique()))])
    image = submit(actor=reader, files=files, **more).images.get()
    read_image(image, phash=phash, box=box)
    assert image.finding_id is not None
    record(reader, image.finding, content)
    return TrainingCandidate.objects.get(image=image)


def record(reader: Actor, finding: Finding | None, content: OutcomeContent, why: str = "") -> None:
    assert finding is not None
    outcome_record(actor=reader, finding_id=finding.pk, content=replace(content, reason=why))


def accept(
    admin: Actor, candidate: TrainingCandidate, outcome_id: UUID | None = None, **more: Any
) -> TrainingCandidate:
    candidate.refresh_from_db()
    told = {
        "version": candidate.version,
        "box": image_box(candidate.image) or WHOLE,
        "reason": "A clear picture.",
        "identity_checked": True,
        **more,
    }
    return candidate_accept(actor=admin, candidate_id=candidate.pk, outcome_id=outcome_id, **told)


def accepted(*, reader: Actor, admin: Actor, **more: Any) -> TrainingCandidate:
    """A candidate that an administrator has accepted."""
    return accept(admin, found(reader=reader, **more))


def actors(site: Site) -> tuple[Actor, Actor]:
    """A radiologist and an administrator of a site."""
    return make_actor(site=site), make_actor(roles=["admin"], site=site)


def reject(
    admin: Actor, candidate: TrainingCandidate, reason: str = "Looked at it."
) -> TrainingCandidate:
    candidate.refresh_from_db()
    return candidate_reject(
        actor=admin, candidate_id=candidate.pk, version=candidate.version, reason=reason
    )


def states(candidate: TrainingCandidate) -> list[str]:
    return [event.to_state for event in CandidateEvent.objects.filter(candidate=candidate)]


def told(candidate: TrainingCandidate) -> tuple[str, str, str]:
    candidate.refresh_from_db()
    return candidate.state, candidate.label, candidate.conflict


def two_findings(reader: Actor, *, other_side: str = "L") -> tuple[Finding, Finding]:
    place = {"accession_number": "A-1", "patient_id": "P-1"}
    case = submit(actor=reader, laterality="L", clock_position="2", **place).case
    submit(actor=reader, laterality=other_side, clock_position="9", **place)
    first, second = case.findings.order_by("number")
    return first, second


def frozen_into(
    snapshot: TrainingSnapshot, candidate: TrainingCandidate, *, admin: Actor, role: str
) -> str:
    """As if the first picture of the snapshot had been drawn from the candidate; its hash."""
    asked = {"role": role, "name": "drawn", "share": "0", "reason": "A set."}
    freeze = freeze_request(actor=admin, fields=freeze_fields_parse(asked))
    SnapshotFreeze.objects.filter(pk=freeze.pk).update(snapshot=snapshot)
    patient = candidate.image.case.patient
    side = PatientPartition.objects.create(
        patient_key=patient_key(issuer=patient.issuer, patient_id=patient.patient_id),
        role=role,
        key_id=patient_key_id(),
        freeze=freeze,
    )
    drawn = FrozenPicture.objects.create(
        freeze=freeze,
        candidate=candidate,
        outcome=candidate.outcome,
        patient_key=side.pk,
        role=role,
        label=candidate.label,
        basis=candidate.basis,
        sha256=snapshot_document(snapshot)["files"][0]["sha256"],
    )
    return drawn.sha256


def taken_back(how: str, candidate: TrainingCandidate, *, reader: Actor, admin: Actor) -> None:
    """What makes a frozen picture one that nobody looks at or trains on any more."""
    case = candidate.image.case
    if how == "erased":
        erase(admin, case)
    elif how == "opted out":
        patient_research_set(actor=reader, patient_id=case.patient_id, opted_out=True)
    else:
        reject(admin, candidate)


TAKEN_BACK = ("erased", "opted out", "rejected")
