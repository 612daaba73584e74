"""The report of a case in words, out of what the case page shows: the same answers, the same
readings, and nothing that this person may not see there."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.utils import timezone
from django.utils.formats import date_format as date_words
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_noop as _

from cases.access import Actor, Capability
from cases.models import Case, Patient, Result
from cases.portal.evidence import evidence_context
from cases.portal.images import FrameAnswer, ImagePanel, panels_of
from cases.portal.readings import PlaceReadings, SignedReading, readings_context
from cases.portal.stage import heat_classes
from cases.portal.wording import INDICATION, LATERALITY, PRIORITY, SEX, person_name
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
from cases.reports.evidence import Flag, Measured
from cases.templatetags.portal import percent, score_bars, score_texts
from cases.vocabulary import Indication, Laterality, Sex
from cases.words import within

HIDDEN = _("hidden")


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
        # Where it has a number of its own, that is on top.
        reference=str(case.pk)[:8] if case.accession_number else str(case.pk),
        title=gettext("Case {accession_number}").format(accession_number=case.accession_number)
        if case.accession_number
        else gettext("Case"),
        facts=(*_patient(actor, case.patient), *_study(case, summary)),
        summary=_summary(summary),
        outside=tuple(flag.words for flag in flags),
        outside_meaning=evidence["flags_meaning"],
        images=tuple(_image(panel, flags) for panel in panels[:MAX_IMAGES]),
        images_left_out=ngettext(
            "{number} more image on the page of the case.",
            "{number} more images on the page of the case.",
            left_out,
        ).format(number=left_out)
        if left_out
        else "",
        # A place nobody has read is told once, for the case as a whole.
        places=tuple(_place(p) for p in places if p.readings or p.finding is None),
        cannot_know=gettext(CANNOT_KNOW),
        research_note=gettext(RESEARCH_NOTE),
        printed=gettext("Made {moment} by {name}").format(
            moment=when(timezone.now()), name=actor.label
        ),
        heatmap=heat_classes()[0].words if heatmap else "",
        not_read=gettext("Not read yet: no reading was signed."),
    )


def when(moment: datetime) -> str:
    return date_words(timezone.localtime(moment), "j M Y, H:i T")


def _patient(actor: Actor, patient: Patient) -> list[Fact]:
    if not actor.can(Capability.VIEW_IDENTITY):
        return [Fact(gettext("Patient"), gettext(HIDDEN))]
    born = date_words(patient.birth_date, "j M Y") if patient.birth_date else gettext("not stated")
    return [
        Fact(gettext("Patient"), person_name(patient.name) or gettext("No name")),
        Fact(
            gettext("Patient id"),
            gettext("{patient_id} (issuer {issuer})").format(
                patient_id=patient.patient_id, issuer=patient.issuer
            ),
        ),
        Fact(gettext("Born"), born),
        Fact(gettext("Sex"), SEX[Sex(patient.sex)] if patient.sex else gettext("not stated")),
    ]


def _study(case: Case, summary: CaseSummary) -> list[Fact]:
    indication = (
        INDICATION[Indication(case.indication)] if case.indication else gettext("not stated")
    )
    return [
        Fact(gettext("Accession number"), case.accession_number or gettext("not stated")),
        Fact(gettext("Indication"), indication),
        Fact(gettext("Priority"), PRIORITY[summary.priority]),
        Fact(gettext("Site"), case.site.name),
        Fact(gettext("Received"), when(case.created_at)),
    ]


def _summary(summary: CaseSummary) -> str:
    top = summary.top
    if top is None:
        return gettext("{words}. {share}.").format(words=summary.words, share=summary.share)
    shown = score_texts(top.score_malignant or 0.0, top.threshold)[0]
    return gettext("{words}. Highest model score for malignant {shown}, {coverage}.").format(
        words=summary.words, shown=shown, coverage=summary.coverage
    )


def _image(panel: ImagePanel, of_case: Sequence[Flag]) -> ReportImage:
    answers = panel.answers
    first = answers[0] if answers else None
    image = panel.image
    device = f"{image.manufacturer} {image.manufacturer_model}".strip()
    facts = [Fact(gettext("Side"), LATERALITY[Laterality(image.laterality)])]
    if device:
        facts.append(Fact(gettext("Device"), device))
    frame = first.result.frame if first else panel.frame
    title = (
        gettext("Image {number} of {of}").format(number=panel.number, of=panel.of)
        if panel.of > 1
        else gettext("Image {number}").format(number=panel.number)
    )
    if image.frames > 1:
        title += gettext(", frame {frame} of {frames}").format(frame=frame + 1, frames=image.frames)
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
        notes=(
            *_notes(first),
            *(
                gettext("Outside the model's evidence: {words}").format(words=flag.words)
                for flag in own
            ),
        ),
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
        threshold_text=gettext("Threshold {threshold}").format(threshold=threshold),
    )


def _notes(answer: FrameAnswer | None) -> tuple[str, ...]:
    if answer is None:
        return (gettext("This is not a negative answer."),)
    notes = []
    if answer.withdrawal is not None:
        given = answer.withdrawal.reason.rstrip(".")
        reason = f": {given}" if given else ""
        notes.append(
            gettext("Withdrawn {moment}{reason}. Do not use this answer.").format(
                moment=when(answer.withdrawal.at), reason=reason
            )
        )
    if not answer.is_answered:
        notes.append(gettext("This is not a negative answer. Read the image without the model."))
    return tuple(notes)


def _rests_on(answer: FrameAnswer) -> tuple[Fact, ...]:
    result, measured = answer.result, answer.measured
    facts = [Fact(gettext("Model"), result.model_version.version)]
    if answer.is_answered:
        threshold = score_texts(result.score_malignant or 0.0, result.threshold)[1]
        facts.append(
            Fact(
                gettext("Operating point"),
                gettext(
                    "malignant from {threshold} on, set for a sensitivity of "
                    "{sensitivity} on validation data"
                ).format(threshold=threshold, sensitivity=percent(result.sensitivity)),
            )
        )
    if answer.is_answered and measured is not None:
        pairs = (
            (gettext("sensitivity"), measured.sensitivity),
            (gettext("specificity"), measured.specificity),
        )
        told = ", ".join(f"{name} {value}" for name, value in pairs if value)
        told = told[:1].upper() + told[1:]
        facts.append(Fact(gettext("Measured"), f"{told}. {_measured_on(measured)}"))
    done = gettext("Answered") if answer.is_answered else gettext("Looked at")
    facts.append(Fact(done, when(result.created_at)))
    return tuple(facts)


def _measured_on(measured: Measured) -> str:
    # xgettext:no-python-format
    return gettext("{measured_on}, with 95 % intervals").format(measured_on=measured.measured_on)


def _other(answer: FrameAnswer) -> str:
    frame = answer.frame[:1].upper() + answer.frame[1:]
    if answer.withdrawal is not None:
        return gettext("{frame}: withdrawn.").format(frame=frame)
    if not answer.is_answered:
        return gettext("{frame}: no answer.").format(frame=frame)
    result = answer.result
    shown = score_texts(result.score_malignant or 0.0, result.threshold)[0]
    return gettext("{frame}: malignant score {shown}.").format(frame=frame, shown=shown)


def _place(place: PlaceReadings) -> ReportPlace:
    return ReportPlace(place.title, tuple(_reading(item) for item in place.readings))


def _reading(item: SignedReading) -> ReportReading:
    reading = item.reading
    is_addendum = reading.addendum_to_id is not None
    lines = []
    if item.label:
        lines.append(gettext("Called {label}.").format(label=within(item.label)))
    lines.extend(f"{legend}: {words}" for legend, words in item.described)
    if item.text:
        lines.extend(line for line in item.text.split("\n") if line.strip())
    elif item.text_hidden:
        lines.append(gettext("Text hidden: it may name the patient."))
    assert reading.signed_at is not None
    signed = gettext("Signed by {name}, {moment}. {seen}").format(
        name=reading.reader.username, moment=when(reading.signed_at), seen=item.seen
    )
    category = (
        gettext("BI-RADS {category}, by {edition}").format(
            category=item.category, edition=item.edition
        )
        if item.category
        else ""
    )
    return ReportReading(
        title=category or (gettext("Addendum") if is_addendum else gettext("Reading")),
        lines=tuple(lines),
        signed=signed,
        addenda=tuple(_reading(addendum) for addendum in item.addenda),
    )
