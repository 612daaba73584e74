"""What the page of a model says of its life, and which acts it offers to whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from cases.access import Actor, Capability
from cases.errors import FieldInvalid, UserFacingError
from cases.models import ModelEvent, ModelVersion, Result
from cases.portal.gates import VerdictView, verdict_view
from cases.portal.lazily import lazy as _
from cases.portal.wording import MODEL_STATE_LABELS, STATES, StateWords, frame_words
from cases.reports.answers import ANSWER_WORDS, above_threshold
from cases.selectors.gates import judged_use
from cases.selectors.model_life import model_events
from cases.selectors.promotion import faults_of, gate_of, outlook, promotion_list
from cases.selectors.shadow import shadow_shown
from cases.services.promotion import promotion_hindrance
from cases.states import ModelState
from cases.told import told
from cases.vocabulary import Label, Outcome

TARGETS = {ModelState.SHADOW: "shadow", ModelState.ACTIVE: "live"}
DECISIONS = {
    "": _("Waits for a second person"),
    "approved": _("Approved"),
    "declined": _("Declined"),
    "withdrawn": _("Withdrawn"),
}
FAULT_WORDS = {
    "file_damaged": _(
        "The stored file is missing or is not the one its SHA-256 names. It was refused; the live "
        "model keeps answering."
    ),
    "not_loadable": _(
        "A worker could not load the model. It was refused there; the model loaded before keeps "
        "answering."
    ),
}

# Where a model stands whose shadow is looked at: why there is nothing, or no more, to see.
SHADOW_WORDS = {
    ModelState.CANDIDATE: _(
        "This model has not run in shadow. In shadow it reads each answered image when nothing "
        "else waits, and its disagreements stand here."
    ),
    ModelState.SHADOW: _(
        "This model is in shadow: it reads each answered image when nothing else waits, and its "
        "disagreements stand here."
    ),
    ModelState.ACTIVE: _("This model is live; it has not run in shadow."),
    ModelState.RETIRED: _("This model is retired; it has not run in shadow."),
    ModelState.REJECTED: _("This model was turned down; it has not run in shadow."),
}


@dataclass(frozen=True)
class RecallLine:
    """One answer of the recall list: what it said then, also where it was withdrawn since.

    ``number`` is that of the image on the page of its case.
    """

    result: Result
    number: int

    @property
    def key(self) -> str:
        if self.result.outcome != Outcome.ANSWERED:
            return self.result.outcome
        if above_threshold(self.result):
            return "above"
        return "no_lesion" if self.result.label == Label.NORMAL else "below"

    @property
    def state(self) -> StateWords:
        return STATES[self.key]

    @property
    def words(self) -> str:
        return ANSWER_WORDS[self.key]

    @property
    def frame(self) -> str:
        return frame_words(self.result.image, self.result.frame)


def recall_lines(results: Iterable[Result], numbers: Mapping[UUID, int]) -> list[RecallLine]:
    return [RecallLine(result, numbers[result.image_id]) for result in results]


@dataclass(frozen=True)
class Refusal:
    """An act that was refused: which form it came from, what was typed, and why not."""

    form: str = ""
    typed: str = ""
    title: str = ""
    problems: tuple[str, ...] = ()
    about_reason: bool = False
    status: int = 200


NO_REFUSAL = Refusal()


def refusal_of(form: str, typed: str, error: UserFacingError) -> Refusal:
    sentences = [told(s) for lines in (error.errors or {}).values() for s in lines]
    return Refusal(
        form=form,
        typed=typed,
        title=told(error.title),
        problems=tuple(sentences or [told(error.detail)]),
        about_reason=isinstance(error, FieldInvalid) and "reason" in (error.errors or {}),
        status=error.status,
    )


@dataclass(frozen=True)
class Acts:
    """What this person may do to this model now. ``ask``: targets with their word."""

    ask: tuple[tuple[str, str], ...] = ()
    hindrances: tuple[str, ...] = ()
    roll_back: bool = False
    reject: bool = False
    see_shadow: bool = False
    see_recall: bool = False
    see_comparison: bool = False
    see_watch: bool = False


@dataclass(frozen=True)
class Life:
    """The life of one model, as its page tells it."""

    acts: Acts
    outlook: Any
    verdict: VerdictView | None
    events: list[dict[str, Any]]
    requests: list[dict[str, Any]]
    faults: list[dict[str, Any]]
    refusal: Refusal = field(default=NO_REFUSAL)


def life_of(actor: Actor, model: ModelVersion, refusal: Refusal = NO_REFUSAL) -> Life:
    requests = list(promotion_list(actor=actor).filter(model_version=model)[:20])
    is_open = any(not request.decision for request in requests)
    events = model_events(actor=actor, model=model)
    return Life(
        acts=_acts(actor, model, events, is_open=is_open),
        outlook=outlook(actor=actor),
        verdict=verdict_of(actor, model),
        events=[
            {
                "event": event,
                "to": MODEL_STATE_LABELS[event.to_state],
                "came": MODEL_STATE_LABELS.get(event.from_state, ""),
            }
            for event in events
        ],
        requests=[request_row(request) for request in requests],
        faults=[
            {"fault": fault, "words": FAULT_WORDS[fault.code]} for fault in faults_of(model=model)
        ],
        refusal=refusal,
    )


def verdict_of(actor: Actor, model: ModelVersion) -> VerdictView | None:
    return verdict_view(gate_of(model=model), judged_use(model), site_id=actor.site_id)


def request_row(request: Any) -> dict[str, Any]:
    """A request with its words."""
    return {
        "asked": request,
        "target": TARGETS[ModelState(request.target)],
        "decision": DECISIONS[request.decision],
    }


def _acts(
    actor: Actor, model: ModelVersion, events: Sequence[ModelEvent], *, is_open: bool
) -> Acts:
    promotes, trains = actor.can(Capability.PROMOTE), actor.can(Capability.TRAIN)
    young = model.state in (ModelState.CANDIDATE, ModelState.SHADOW)
    ask, hindrances = [], []
    if young:
        for target, word in TARGETS.items():
            if target == model.state:
                continue
            hindrance = promotion_hindrance(model, target)
            if hindrance and hindrance not in hindrances:
                hindrances.append(hindrance)
            elif not hindrance and (promotes or trains) and not is_open:
                ask.append((target.value, word))
    # A model that went live without has nothing to show there.
    in_shadow = young or any(event.to_state == ModelState.SHADOW for event in events)
    return Acts(
        ask=tuple(ask),
        hindrances=tuple(told(hindrance) for hindrance in hindrances),
        roll_back=promotes and model.state == ModelState.RETIRED,
        reject=promotes and young and not is_open,
        see_shadow=in_shadow and shadow_shown(actor),
        see_recall=actor.can(Capability.VIEW_CASES),
        see_comparison=trains or promotes or actor.can(Capability.CURATE),
        see_watch=actor.can(Capability.OPERATE),
    )
