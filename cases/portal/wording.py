"""The portal's words: states with their why and next step, places in the breast, audit actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cases.models import Finding, Image
from cases.portal.step_words import fault_words, reading_words
from cases.vocabulary import Indication, Laterality, Quadrant, Sex


@dataclass(frozen=True)
class StateWords:
    """How a state looks and what it asks for. ``tone`` is a colour that is never alone."""

    icon: str
    tone: str
    why: str
    next_step: str


STATES: dict[str, StateWords] = {
    "waiting": StateWords(
        "clock",
        "neutral",
        "The image is stored and waits for the model.",
        "The answer appears here by itself.",
    ),
    "reading": StateWords(
        "scan",
        "info",
        "The model is reading the image.",
        "The answer appears here by itself.",
    ),
    "above": StateWords(
        "caution",
        "caution",
        "The model's malignant score reaches the threshold it was set to.",
        "Read the image yourself and decide.",
    ),
    "below": StateWords(
        "below",
        "neutral",
        "The model's malignant score stays under the threshold it was set to.",
        "Read the image yourself and decide.",
    ),
    "no_lesion": StateWords(
        "below",
        "neutral",
        "The model's malignant score stays under the threshold it was set to.",
        "Read the image yourself and decide.",
    ),
    "abstained": StateWords(
        "question",
        "info",
        "The model is too uncertain to answer. This is not a negative answer.",
        "Read the image without the model.",
    ),
    "refused": StateWords(
        "slash",
        "info",
        "The model gives no answer for this image. This is not a negative answer.",
        "Check that it is the right image, and read it without the model.",
    ),
    "failed": StateWords(
        "alert",
        "alert",
        "The image is stored, but it could not be read by the model.",
        "Run it again.",
    ),
    "cancelled": StateWords(
        "cross",
        "neutral",
        "The image is stored; its reading was cancelled before an answer.",
        "Run it again if an answer is wanted.",
    ),
    "erased": StateWords(
        "cross",
        "neutral",
        "The patient's identity and images were erased.",
        "",
    ),
    "withheld": StateWords(
        "lock",
        "neutral",
        "Your site reads first. What the model answered is shown here once the reading of the case "
        "as a whole is signed.",
        "Read the image without the model.",
    ),
    "withdrawn": StateWords(
        "slash",
        "alert",
        "The answer was withdrawn and must not be used. This is not a negative answer.",
        "Read the image without the model, or run it again.",
    ),
}

MODEL_STATES: dict[str, StateWords] = {
    "ACTIVE": StateWords("live", "info", "Answers every new image.", ""),
    "CANDIDATE": StateWords("clock", "neutral", "Waits for an approver's decision.", ""),
    "SHADOW": StateWords("scan", "neutral", "Runs beside the live model without showing.", ""),
    "RETIRED": StateWords("cross", "neutral", "Answered earlier images; no longer in use.", ""),
    "REJECTED": StateWords("slash", "neutral", "Was turned down and never answered.", ""),
}
MODEL_STATE_LABELS = {
    "ACTIVE": "Live",
    "CANDIDATE": "Candidate",
    "SHADOW": "Shadow",
    "RETIRED": "Retired",
    "REJECTED": "Rejected",
}

SEX = {Sex.FEMALE: "Female", Sex.MALE: "Male", Sex.OTHER: "Other"}
LATERALITY = {
    Laterality.LEFT: "Left",
    Laterality.RIGHT: "Right",
    Laterality.BOTH: "Both",
    Laterality.UNKNOWN: "Not stated",
}
QUADRANT = {
    Quadrant.UPPER_OUTER: "Upper outer",
    Quadrant.UPPER_INNER: "Upper inner",
    Quadrant.LOWER_OUTER: "Lower outer",
    Quadrant.LOWER_INNER: "Lower inner",
    Quadrant.CENTRAL: "Central",
    Quadrant.AXILLARY_TAIL: "Axillary tail",
}
INDICATION = {
    Indication.SYMPTOMATIC: "Symptoms",
    Indication.RECALL: "Recall from screening",
    Indication.FOLLOW_UP: "Follow-up",
    Indication.SUPPLEMENTAL: "Supplemental screening",
    Indication.STAGING: "Staging",
    Indication.POST_TREATMENT: "After treatment",
}


def place_of(finding: Finding) -> str:
    """A place in the breast in a line: "Left, 2 o'clock, upper outer, 25 mm from the nipple"."""
    parts = []
    if finding.laterality != Laterality.UNKNOWN:
        parts.append(LATERALITY[Laterality(finding.laterality)])
    if finding.clock_position:
        parts.append(f"{finding.clock_position} o'clock")
    if finding.quadrant:
        parts.append(QUADRANT[Quadrant(finding.quadrant)].lower())
    if finding.nipple_distance_mm is not None:
        parts.append(f"{finding.nipple_distance_mm.normalize():f} mm from the nipple")
    line = ", ".join(parts)
    return line[:1].upper() + line[1:]


def frame_words(image: Image, frame: int) -> str:
    """ "frame 3 of 24" for a cine, "" for a still: people count from one."""
    return f"frame {frame + 1} of {image.frames}" if image.frames > 1 else ""


def person_name(value: str) -> str:
    """A DICOM person name (PS3.5 6.2.1) as people write it: "Doe, Jane"."""
    family, _, rest = value.split("=")[0].partition("^")
    given, *others = [*rest.split("^"), ""]
    middle = others[0] if others else ""
    given = " ".join(part for part in (given, middle) if part)
    return ", ".join(part for part in (family, given) if part)


def count_of(number: int, noun: str) -> str:
    """ "1 image", "3 images"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


ACTIONS: dict[str, str] = {
    "audit.exported": "took an export of the audit trail",
    "audit.viewed": "looked at the audit trail",
    "candidate.accepted": "accepted an image as training data",
    "candidate.lapsed": "let an image lapse as training data",
    "candidate.proposed": "proposed an image as training data",
    "candidate.rejected": "rejected an image as training data",
    "candidate.reopened": "opened the decision about an image as training data",
    "case.circumstances_stated": "stated what the model was not tested on",
    "case.compared": "compared the case with an earlier one",
    "case.report_downloaded": "downloaded the report of the case",
    "case.report_viewed": "looked at the report of the case",
    "case.called_off": "called off the readings of {images}",
    "case.completed": "completed the case's fields",
    "case.created": "created the case",
    "case.erased": "erased the patient's data",
    "case.exported": "took the case away in a list",
    "case.patient_corrected": "moved the case to another patient record",
    "case.listed": "looked at a list of cases",
    "case.rerun": "asked for {images} again",
    "case.searched": "searched for cases",
    "case.viewed": "looked at the case",
    "dataset.imported": "imported a data set",
    "freeze.cancelled": "called off a snapshot of accepted images",
    "freeze.created": "asked for a snapshot of accepted images",
    "freeze.failed": "could not make a snapshot of accepted images",
    "freeze.succeeded": "made a snapshot of {images}",
    "identity.closed": "hid the patient's identity again",
    "identity.opened": "opened the patient's identity",
    "image.downloaded": "downloaded {object}",
    "image.frames_viewed": "looked at frames of {object}",
    "image.viewed": "looked at {object}",
    "job.cancelled": "cancelled the reading of {object}",
    "job.created": "asked for a reading of {object}",
    "job.failed": "could not read {object}",
    "job.retried": "asked for {object} again after it failed",
    "model.active": "made a model live",
    "model.candidate": "added a model as a candidate",
    "model.gated": "kept what a model's gate said",
    "model.refused": "refused a model's file",
    "model.rejected": "rejected a model",
    "model.retired": "retired a model",
    "model.shadow": "put a model into shadow",
    "finding.added": "named a finding",
    "outcome.listed": "looked at the outcomes of a finding",
    "outcome.recorded": "recorded the outcome of a finding",
    "outcome.superseded": "superseded the outcome of a finding",
    "patient.erased": "erased a patient's data",
    "patient.opted_in": "noted that the patient takes part in research again",
    "patient.opted_out": "noted that the patient opts out of research",
    "patient.completed": "completed the patient record",
    "patient.created": "added a patient record",
    "promotion.approved": "approved a model",
    "promotion.declined": "declined a model",
    "promotion.requested": "asked for a model's promotion",
    "promotion.withdrawn": "withdrew a request for a model",
    "reader_first.off": "let answers be shown from the start again",
    "reader_first.on": "let the site read first",
    "recall.exported": "took a recall list",
    "recall.listed": "looked at a recall list",
    "reading.addendum_signed": "signed an addendum to a reading",
    "reading.discarded": "threw a draft of a reading away",
    "reading.draft_saved": "saved a draft of a reading",
    "reading.listed": "looked at a list of readings",
    "reading.signed": "signed a reading",
    "replay.cancelled": "called off computing the answer for {object} again",
    "replay.created": "asked to compute the answer for {object} again",
    "replay.failed": "could not compute the answer for {object} again",
    "replay.stored": "computed the answer for {object} again",
    "result.read": "read the answer for {object}",
    "result.withdrawn": "withdrew the answer for {object}",
    "result.stored": "stored the answer for {object}",
    "role.granted": "gave a role",
    "role.revoked": "took a role away",
    "serving.resumed": "resumed answers",
    "serving.suspended": "suspended answers",
    "service.backed_up": "made a backup",
    "storage.orphan_deleted": "cleared away stored bytes that nothing refers to",
    "saved_view.changed": "changed a view of the worklist",
    "saved_view.created": "saved a view of the worklist",
    "saved_view.deleted": "deleted a view of the worklist",
    "schedule.changed": "changed a training schedule",
    "gate_plan.created": "declared a gate plan",
    "schedule.created": "added a training schedule",
    "schedule.switched": "switched a training schedule on or off",
    "shadow.cancelled": "called off asking the model in shadow about {object}",
    "shadow.failed": "got nothing from the model in shadow about {object}",
    "site.changed": "changed the site",
    "site.created": "added a site",
    "snapshot.moved": "told where a snapshot's pictures lie",
    "snapshot.registered": "made a snapshot known",
    "locked_picture.viewed": "looked at a picture of a locked set",
    "submission.created": "submitted {images}",
    "token.created": "made an access token",
    "token.revoked": "revoked an access token",
    "training_run.cancelled": "called off a training",
    "training_run.created": "asked for a training",
    "training_run.failed": "could not finish a training",
    "training_run.succeeded": "finished a training",
    "user.arrived": "moved a user here from another site",
    "user.created": "added a user",
    "user.deactivated": "closed an account",
    "user.lock_lifted": "lifted a lock-out",
    "user.locked_out": "locked out after failed sign-ins",
    "user.passkey_renamed": "renamed a passkey",
    "user.password_changed": "changed the own password",
    "user.recovery_code_used": "used a recovery code",
    "user.recovery_codes_made": "made recovery codes",
    "user.second_factor_added": "added a second factor",
    "user.second_factor_failed": "refused the code of a second factor",
    "user.second_factor_removed": "removed a second factor",
    "user.second_factor_reset": "took the second factors of a user away",
    "user.session_ended": "ended a session",
    "user.sessions_ended": "signed out other sessions",
    "user.link_made": "made a link to a new password",
    "user.moved": "moved a user to another site",
    "user.password_chosen": "chose a password by a link",
    "user.reactivated": "opened an account again",
    "user.sign_in_failed": "refused a sign-in",
    "user.sign_on_linked": "linked a user with single sign-on",
    "user.signed_in": "signed in",
    "user.signed_out": "signed out",
    "webhook.changed": "changed a webhook",
    "webhook.created": "added a webhook",
    "webhook.pinged": "sent a test to a webhook",
    "webhook.replayed": "had messages sent to a webhook once more",
    "webhook.secret_rotated": "made a new secret for a webhook",
    "webhook.switched_off": "switched a webhook off",
    "webhook.switched_on": "switched a webhook on",
}

_OUTCOMES = {
    "answered": "answered",
    "abstained": "no answer, too uncertain",
    "refused": "no answer, the image was refused",
}

# Fields in which a form was kept although a DICOM header differed.
_OVERRIDDEN = {
    "patient_id": "patient id",
    "patient_issuer": "issuer of the patient id",
    "birth_date": "date of birth",
    "accession_number": "accession number",
    "accession_issuer": "issuer of the accession number",
    "laterality": "side",
}


def action_words(action: str, *, thing: str, detail: dict[str, Any]) -> str:
    """One event as the end of a sentence that begins with who: "looked at image 2"."""
    known = ACTIONS.get(action)
    if known is None:
        noun, _, verb = action.partition(".")
        return f"{verb.replace('_', ' ')} {noun}".strip()
    images = detail.get("images")
    words = known.format(
        object=thing or "an image",
        images=count_of(images, "image") if isinstance(images, int) else "images",
    )
    finding = detail.get("finding")
    if isinstance(finding, int):
        words = words.replace("a finding", f"finding {finding}")
    return words + reading_words(action, detail) + _more(detail)


def _more(detail: dict[str, Any]) -> str:
    more = []
    if detail.get("outcome") in _OUTCOMES:
        more.append(_OUTCOMES[detail["outcome"]])
    if isinstance(detail.get("equal"), bool):
        more.append("equal" if detail["equal"] else "different")
    if detail.get("skipped"):
        more.append(f"{count_of(len(detail['skipped']), 'file')} skipped")
    if detail.get("overridden"):
        kept = ", ".join(_OVERRIDDEN.get(name, name) for name in detail["overridden"])
        more.append(f"kept the form over the DICOM header: {kept}")
    if isinstance(detail.get("cases"), int):
        more.append(count_of(detail["cases"], "case"))
    if isinstance(detail.get("minutes"), int):
        more.append(f"for {count_of(detail['minutes'], 'minute')}")
    if detail.get("role"):
        more.append(str(detail["role"]))
    if isinstance(detail.get("reason"), str) and detail["reason"]:
        more.append(detail["reason"])
    if detail.get("code"):
        more.append(fault_words(str(detail["code"])))
    return f" ({'; '.join(more)})" if more else ""
