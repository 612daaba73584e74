"""The portal's words: states with their why and next step, places in the breast, audit actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_noop as _

from cases.counted import counted
from cases.models import Finding, Image
from cases.portal.action_words import ACTIONS
from cases.portal.step_words import fault_words, reading_words
from cases.vocabulary import Indication, Laterality, Priority, Quadrant, Sex
from cases.words import Words, local, within


@dataclass(frozen=True)
class StateWords:
    """How a state looks and what it asks for. ``tone`` is a colour that is never alone."""

    icon: str
    tone: str
    why_english: str
    next_english: str

    @property
    def why(self) -> str:
        return gettext(self.why_english) if self.why_english else ""

    @property
    def next_step(self) -> str:
        return gettext(self.next_english) if self.next_english else ""


STATES: dict[str, StateWords] = {
    "waiting": StateWords(
        "clock",
        "neutral",
        _("The image is stored and waits for the model."),
        _("The answer appears here by itself."),
    ),
    "reading": StateWords(
        "scan",
        "info",
        _("The model is reading the image."),
        _("The answer appears here by itself."),
    ),
    "above": StateWords(
        "caution",
        "caution",
        _("The model's malignant score reaches the threshold it was set to."),
        _("Read the image yourself and decide."),
    ),
    "below": StateWords(
        "below",
        "neutral",
        _("The model's malignant score stays under the threshold it was set to."),
        _("Read the image yourself and decide."),
    ),
    "no_lesion": StateWords(
        "below",
        "neutral",
        _("The model's malignant score stays under the threshold it was set to."),
        _("Read the image yourself and decide."),
    ),
    "abstained": StateWords(
        "question",
        "info",
        _("The model is too uncertain to answer. This is not a negative answer."),
        _("Read the image without the model."),
    ),
    "refused": StateWords(
        "slash",
        "info",
        _("The model gives no answer for this image. This is not a negative answer."),
        _("Check that it is the right image, and read it without the model."),
    ),
    "failed": StateWords(
        "alert",
        "alert",
        _("The image is stored, but it could not be read by the model."),
        _("Run it again."),
    ),
    "cancelled": StateWords(
        "cross",
        "neutral",
        _("The image is stored; the model's run was cancelled before an answer."),
        _("Run it again if an answer is wanted."),
    ),
    "erased": StateWords(
        "cross",
        "neutral",
        _("The patient's identity and images were erased."),
        "",
    ),
    "withheld": StateWords(
        "lock",
        "neutral",
        _(
            "Your site reads first. What the model answered is shown here once the reading of the "
            "case as a whole is signed."
        ),
        _("Read the image without the model."),
    ),
    "withdrawn": StateWords(
        "slash",
        "alert",
        _("The answer was withdrawn and must not be used. This is not a negative answer."),
        _("Read the image without the model, or run it again."),
    ),
}

MODEL_STATES: dict[str, StateWords] = {
    "ACTIVE": StateWords("live", "info", _("Answers every new image."), ""),
    "CANDIDATE": StateWords("clock", "neutral", _("Waits for an approver's decision."), ""),
    "SHADOW": StateWords("scan", "neutral", _("Runs beside the live model without showing."), ""),
    "RETIRED": StateWords("cross", "neutral", _("Answered earlier images; no longer in use."), ""),
    "REJECTED": StateWords("slash", "neutral", _("Was turned down and never answered."), ""),
}
MODEL_STATE_LABELS = Words(
    {
        "ACTIVE": _("Live"),
        "CANDIDATE": _("Candidate"),
        "SHADOW": _("Shadow"),
        "RETIRED": _("Retired"),
        "REJECTED": _("Rejected"),
    }
)

SEX = Words({Sex.FEMALE: _("Female"), Sex.MALE: _("Male"), Sex.OTHER: _("Other")})
LATERALITY = Words(
    {
        Laterality.LEFT: _("Left"),
        Laterality.RIGHT: _("Right"),
        Laterality.BOTH: _("Both"),
        Laterality.UNKNOWN: _("Not stated"),
    }
)
PRIORITY = Words(
    {Priority.STAT: _("Stat"), Priority.URGENT: _("Urgent"), Priority.ROUTINE: _("Routine")}
)
QUADRANT = Words(
    {
        Quadrant.UPPER_OUTER: _("Upper outer"),
        Quadrant.UPPER_INNER: _("Upper inner"),
        Quadrant.LOWER_OUTER: _("Lower outer"),
        Quadrant.LOWER_INNER: _("Lower inner"),
        Quadrant.CENTRAL: _("Central"),
        Quadrant.AXILLARY_TAIL: _("Axillary tail"),
    }
)
INDICATION = Words(
    {
        Indication.SYMPTOMATIC: _("Symptoms"),
        Indication.RECALL: _("Recall from screening"),
        Indication.FOLLOW_UP: _("Follow-up"),
        Indication.SUPPLEMENTAL: _("Supplemental screening"),
        Indication.STAGING: _("Staging"),
        Indication.POST_TREATMENT: _("After treatment"),
    }
)


def place_of(finding: Finding) -> str:
    """A place in the breast in a line: "Left, 2 o'clock, upper outer, 25 mm from the nipple"."""
    parts = []
    if finding.laterality != Laterality.UNKNOWN:
        parts.append(LATERALITY[Laterality(finding.laterality)])
    if finding.clock_position:
        parts.append(
            gettext("{clock_position} o'clock").format(clock_position=finding.clock_position)
        )
    if finding.quadrant:
        parts.append(within(QUADRANT[Quadrant(finding.quadrant)]))
    if finding.nipple_distance_mm is not None:
        distance = local(f"{finding.nipple_distance_mm.normalize():f}")
        parts.append(gettext("{distance} mm from the nipple").format(distance=distance))
    line = ", ".join(parts)
    return line[:1].upper() + line[1:]


def frame_words(image: Image, frame: int) -> str:
    """ "frame 3 of 24" for a cine, "" for a still: people count from one."""
    return (
        gettext("frame {frame} of {frames}").format(frame=frame + 1, frames=image.frames)
        if image.frames > 1
        else ""
    )


def person_name(value: str) -> str:
    """A DICOM person name (PS3.5 6.2.1) as people write it: "Doe, Jane"."""
    family, _, rest = value.split("=")[0].partition("^")
    given, *others = [*rest.split("^"), ""]
    middle = others[0] if others else ""
    given = " ".join(part for part in (given, middle) if part)
    return ", ".join(part for part in (family, given) if part)


def count_of(number: int, noun: str) -> str:
    """ "1 image", "3 images"."""
    return counted(number, noun)


_OUTCOMES = Words(
    {
        "answered": _("answered"),
        "abstained": _("no answer, too uncertain"),
        "refused": _("no answer, the image was refused"),
    }
)

# Fields in which a form was kept although a DICOM header differed.
_OVERRIDDEN = Words(
    {
        "patient_id": _("patient id"),
        "patient_issuer": _("issuer of the patient id"),
        "birth_date": _("date of birth"),
        "accession_number": _("accession number"),
        "accession_issuer": _("issuer of the accession number"),
        "laterality": _("side"),
    }
)


def action_words(action: str, *, thing: str, detail: dict[str, Any]) -> str:
    """One event as the end of a sentence that begins with who: "looked at image 2"."""
    known = ACTIONS.get(action)
    if known is None:
        noun, _, verb = action.partition(".")
        return f"{verb.replace('_', ' ')} {noun}".strip()
    images = detail.get(gettext("images"))
    words = known.format(
        object=thing or gettext("an image"),
        images=count_of(images, "image") if isinstance(images, int) else gettext("images"),
    )
    finding = detail.get("finding")
    if isinstance(finding, int):
        words = words.replace(
            gettext("a finding"), gettext("finding {finding}").format(finding=finding)
        )
    return words + reading_words(action, detail) + _more(detail)


def _more(detail: dict[str, Any]) -> str:
    more = []
    if detail.get("outcome") in _OUTCOMES:
        more.append(_OUTCOMES[detail["outcome"]])
    if isinstance(detail.get(gettext("equal")), bool):
        more.append(gettext("equal") if detail[gettext("equal")] else gettext("different"))
    if detail.get("skipped"):
        more.append(
            ngettext(
                "{number} file skipped", "{number} files skipped", len(detail["skipped"])
            ).format(number=len(detail["skipped"]))
        )
    if detail.get("overridden"):
        kept = ", ".join(_OVERRIDDEN.get(name, name) for name in detail["overridden"])
        more.append(gettext("kept the form over the DICOM header: {kept}").format(kept=kept))
    if isinstance(detail.get("cases"), int):
        more.append(count_of(detail["cases"], "case"))
    if isinstance(detail.get("minutes"), int):
        more.append(
            ngettext("for {number} minute", "for {number} minutes", detail["minutes"]).format(
                number=detail["minutes"]
            )
        )
    if detail.get("role"):
        more.append(str(detail["role"]))
    if isinstance(detail.get("reason"), str) and detail["reason"]:
        more.append(detail["reason"])
    if detail.get("code"):
        more.append(fault_words(str(detail["code"])))
    return f" ({'; '.join(more)})" if more else ""
