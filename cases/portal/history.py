"""Audit events as sentences: who, what, when."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

from cases.access import ActorKind
from cases.models import AuditEvent, Case
from cases.portal.staff import ROLES
from cases.portal.step_words import field_words
from cases.portal.wording import action_words
from cases.words import Words

_MACHINES = Words(
    {
        ActorKind.WORKER.value: _("The model's worker"),
        ActorKind.SYSTEM.value: _("The service"),
    }
)


@dataclass(frozen=True)
class Entry:
    """One line of a history. ``technical`` is what stands in the trail, for the exact reader."""

    at: datetime
    who: str
    what: str
    event: AuditEvent

    @property
    def label(self) -> str:
        """Who it was as it stands in the trail, where the words do not say that: of a token only
        the first characters, its owner is named already."""
        if self.event.actor_kind == ActorKind.TOKEN.value:
            return self.event.actor_label.partition(" via ")[2]
        return self.event.actor_label if self.who != self.event.actor_label else ""

    @property
    def fields(self) -> str:
        """The names of what was changed, as people call them."""
        return field_words(self.event.changed_fields)

    @property
    def made_something(self) -> bool:
        """What was stated then, there was nothing to change."""
        return self.event.action.endswith(".created")


def who_of(event: AuditEvent) -> str:
    """A person or system by name; the service's own hands by what they are."""
    machine = _MACHINES.get(event.actor_kind)
    if machine is not None:
        return machine
    if event.actor_kind == ActorKind.COMMAND.value:
        return gettext("The command {name}").format(name=event.actor_label)
    if event.actor_kind == ActorKind.TOKEN.value:
        # Whose token it was; the first characters of its secret are for the exact reader.
        return gettext("{name} (by token)").format(name=event.actor_label.partition(" via ")[0])
    return event.actor_label


def things_of(case: Case) -> dict[str, str]:
    """What ids in a case's trail mean to people: "image 2" for the image, its jobs and answers."""
    names: dict[str, str] = {}
    for number, image in enumerate(case.images.all(), start=1):
        name = gettext("image {number}").format(number=number)
        names[str(image.pk)] = name
        for job in image.jobs.all():
            frame = (
                gettext(", frame {frame}").format(frame=job.frame + 1)
                if image.frames > 1 and job.frame is not None
                else ""
            )
            names[str(job.pk)] = name + frame
            result = getattr(job, "result", None)
            if result is not None:
                names[str(result.pk)] = name + frame
    return names


def entries_of(
    events: Iterable[AuditEvent], things: Mapping[str, str] | None = None
) -> list[Entry]:
    return [_entry(event, things or {}) for event in events]


def _entry(event: AuditEvent, things: Mapping[str, str]) -> Entry:
    detail: dict[str, Any] = event.detail or {}
    # An answer that is withheld is not among the things; the job it came of is.
    thing = things.get(event.object_id) or things.get(str(detail.get("job")), "")
    if detail.get("role") in ROLES:
        detail = {**detail, "role": ROLES[detail["role"]][0]}
    what = action_words(event.action, thing=thing, detail=detail)
    return Entry(at=event.at, who=who_of(event), what=what, event=event)
