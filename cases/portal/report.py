"""The report of a case in words, out of what the case page shows: the same answers, the same
readings, and nothing that this person may not see there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone
from django.utils.dateformat import format as date_words

from cases.access import Actor, Capability
from cases.models import Case, Patient, Result
from cases.portal.evidence import evidence_context
from cases.portal.images import FrameAnswer, ImagePanel, panels_of
from cases.portal.readings import PlaceReadings, SignedReading, readings_context
from cases.portal.stage import HEAT_CLASSES
from cases.portal.wording import INDICATION, LATERALITY, SEX, count_of, person_name
from cases.reports.answers import RESEARCH_NOTE, CaseSummary
from cases.reports.case_report import (
    CANNOT_KNOW,
    MAX_IMAGES,
    CaseReport,
    Fact,
    ReportImage,
    ReportPlace,
    ReportReading,
    Scale,
    Score,
)
from cases.reports.evidence import Flag
from cases.templatetags.portal import percent, score_bars, score_texts
from cases.vocabulary import Indication, Laterality, Sex

HIDDEN = "hidden"


def case_report(
    *, actor: Actor, case: Case, summary: CaseSummary, heatmap: bool = False
) -> CaseReport:
    """The report as ``actor`` may see it. ``summary`` comes from `portal.shown`."""
    panels = panels_of(summary, actor=actor)
    evidence = evidence_context(actor=actor, case=case)
    flags: Sequence[Flag] = evidence["case_flags"]
    places: list[PlaceReadings] = readings_context(actor=actor, case=case, summary=summary)[
        "reading_places"
    ]
    left_out = max(0, len(panels) - MAX_IMAGES)
    return CaseReport(
        reference=str(case.pk),
        title=f"Case {case.accession_number}" if case.accession_number else "Case",
        facts=(*_patient(actor, case.patient), *_study(case)),
        summary=_summary(summary),
        outside=tuple(flag.words for flag in flags),
        outside_meaning=evidence["flags_meaning"],
        images=tuple(_image(panel, flags) for panel in panels[:MAX_IMAGES]),
        images_left_out=f"{count_of(left_out, 'more image')} on the page of the case."
        if left_out
        else "",
        # A place nobody has read is told once, for the case as a whole.
        places=tuple(_place(p) for p in places if p.readings or p.finding is None),
        cannot_know=CANNOT_KNOW,
        research_note=RESEARCH_NOTE,
        printed=f"Made {when(timezone.now())} by {actor.label}",
        heatmap=HEAT_CLASSES[0].words if heatmap else "",
    )


def when(moment: datetime) -> str:
    return date_words(timezone.localtime(moment), "j M Y, H:i T")


def _patient(actor: Actor, patient: Patient) -> list[Fact]:
    if not actor.can(Capability.VIEW_IDENTITY):
        return [Fact("Patient", HIDDEN)]
    born = date_words(patient.birth_date, "j M Y") if patient.birth_date else "not stated"
    return [
        Fact("Patient", person_name(patient.name) or "No name"),
        Fact("Patient id", f"{patient.patient_id} ({patient.issuer})"),
        Fact("Born", born),
        Fact("Sex", SEX[Sex(patient.sex)] if patient.sex else "not stated"),
    ]


def _study(case: Case) -> list[Fact]:
    indication = INDICATION[Indication(case.indication)] if case.indication else "not stated"
    return [
        Fact("Accession number", case.accession_number or "not stated"),
        Fact("Indication", indication),
        Fact("Site", case.site.name),
        Fact("Received", when(case.created_at)),
    ]


def _summary(summary: CaseSummary) -> str:
    top = summary.top
    if top is None:
        return (
            f"{summary.words}. {summary.answered} of {count_of(summary.images, 'image')} answered."
        )
    shown = score_texts(top.score_malignant or 0.0, top.threshold)[0]
    return f"{summary.words}. Highest model score for malignant {shown}, {summary.coverage}."


def _image(panel: ImagePanel, of_case: Sequence[Flag]) -> ReportImage:
    answers = panel.answers
    first = answers[0] if answers else None
    image = panel.image
    device = f"{image.manufacturer} {image.manufacturer_model}".strip()
    facts = [Fact("Side", LATERALITY[Laterality(image.laterality)].lower())]
    if device:
        facts.append(Fact("Device", device))
    frame = first.result.frame if first else panel.frame
    title = f"Image {panel.number} of {panel.of}" if panel.of > 1 else f"Image {panel.number}"
    if image.frames > 1:
        title += f", frame {frame + 1} of {image.frames}"
    own = [flag for flag in panel.flags if flag not in of_case]
    return ReportImage(
        image_id=image.pk,
        frame=frame,
        result_id=first.result.pk if first and _has_heatmap(first) else None,
        title=title,
        facts=tuple(facts),
        state=panel.words,
        headline=first.headline if first else panel.state.why,
        scale=_scale(first.result) if first and first.is_answered else None,
        notes=(*_notes(first), *(f"Outside the model's evidence: {flag.words}" for flag in own)),
        rests_on=_rests_on(first) if first else (),
        others=tuple(_other(answer) for answer in answers[1:]),
    )


def _has_heatmap(answer: FrameAnswer) -> bool:
    return bool(answer.result.heatmap) and answer.withdrawal is None


def _scale(result: Result) -> Scale | None:
    if result.probabilities is None:
        return None
    threshold = score_texts(result.score_malignant or 0.0, result.threshold)[1]
    return Scale(
        scores=tuple(Score(b.key, b.label, b.text, b.value) for b in score_bars(result)),
        threshold=result.threshold,
        threshold_text=f"Threshold {threshold}",
    )


def _notes(answer: FrameAnswer | None) -> tuple[str, ...]:
    if answer is None:
        return ("This is not a negative answer.",)
    notes = []
    if answer.withdrawal is not None:
        given = answer.withdrawal.reason.rstrip(".")
        reason = f": {given}" if given else ""
        notes.append(f"Withdrawn {when(answer.withdrawal.at)}{reason}. Do not use this answer.")
    if not answer.is_answered:
        notes.append("This is not a negative answer. Read the image without the model.")
    return tuple(notes)


def _rests_on(answer: FrameAnswer) -> tuple[Fact, ...]:
    result, measured = answer.result, answer.measured
    facts = [Fact("Model", result.model_version.version)]
    if answer.is_answered:
        threshold = score_texts(result.score_malignant or 0.0, result.threshold)[1]
        facts.append(
            Fact(
                "Operating point",
                f"malignant from {threshold} on, set for a sensitivity of "
                f"{percent(result.sensitivity)} on validation data",
            )
        )
    if measured is not None:
        pairs = (("sensitivity", measured.sensitivity), ("specificity", measured.specificity))
        told = ", ".join(f"{name} {value}" for name, value in pairs if value)
        on = f" on {measured.images} images" if measured.images else ""
        facts.append(Fact("Measured", f"{told}{on}: {measured.title}"))
    facts.append(Fact("Answered", when(result.created_at)))
    return tuple(facts)


def _other(answer: FrameAnswer) -> str:
    frame = answer.frame[:1].upper() + answer.frame[1:]
    if answer.withdrawal is not None:
        return f"{frame}: withdrawn."
    if not answer.is_answered:
        return f"{frame}: no answer."
    result = answer.result
    shown = score_texts(result.score_malignant or 0.0, result.threshold)[0]
    return f"{frame}: malignant score {shown}."


def _place(place: PlaceReadings) -> ReportPlace:
    return ReportPlace(place.title, tuple(_reading(item) for item in place.readings))


def _reading(item: SignedReading) -> ReportReading:
    reading = item.reading
    is_addendum = reading.addendum_to_id is not None
    lines = []
    if item.label:
        lines.append(f"Called {item.label.lower()}.")
    lines.extend(f"{legend}: {words}" for legend, words in item.described)
    if item.text:
        lines.extend(line for line in item.text.split("\n") if line.strip())
    elif item.text_hidden:
        lines.append("Text hidden: it may name the patient.")
    assert reading.signed_at is not None
    signed = f"Signed by {reading.reader.username}, {when(reading.signed_at)}. {item.seen}"
    category = f"BI-RADS {item.category}, by {item.edition}" if item.category else ""
    return ReportReading(
        title=category or ("Addendum" if is_addendum else "Reading"),
        lines=tuple(lines),
        signed=signed,
        addenda=tuple(_reading(addendum) for addendum in item.addenda),
    )
