"""Lifecycles as data: which states exist, which moves are legal, which states end the story.

No ORM here. The services move rows by these tables, the database repeats the rules as
constraints, and the tests pair every legal move with an illegal one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Generic, TypeVar


class JobState(StrEnum):
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class ModelState(StrEnum):
    CANDIDATE = "CANDIDATE"
    SHADOW = "SHADOW"
    ACTIVE = "ACTIVE"
    RETIRED = "RETIRED"
    REJECTED = "REJECTED"


class CandidateState(StrEnum):
    """Of an image that may become training data."""

    PENDING = "PENDING"
    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    LAPSED = "LAPSED"


class DeliveryState(StrEnum):
    """Of one message to one webhook."""

    PENDING = "PENDING"
    SENDING = "SENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


S = TypeVar("S", bound=StrEnum)


@dataclass(frozen=True)
class Lifecycle(Generic[S]):
    """The legal moves between the states of one kind of row.

    ``final`` states are never left. ``active`` states occupy the thing the row is about: a job
    that is waiting or running, a model that answers.
    """

    name: str
    states: type[S]
    initial: frozenset[S]
    moves: frozenset[tuple[S, S]]
    active: frozenset[S]

    @cached_property
    def final(self) -> frozenset[S]:
        left = {source for source, _ in self.moves}
        return frozenset(state for state in self.states if state not in left)

    def allows(self, source: S, target: S) -> bool:
        return (source, target) in self.moves

    def sources(self, target: S) -> frozenset[S]:
        """The states from which ``target`` may be reached in one move."""
        return frozenset(source for source, to in self.moves if to == target)


JOB: Lifecycle[JobState] = Lifecycle(
    name="job",
    states=JobState,
    initial=frozenset({JobState.PENDING}),
    moves=frozenset(
        {
            (JobState.PENDING, JobState.RUNNING),
            (JobState.PENDING, JobState.CANCELLED),
            (JobState.RUNNING, JobState.SUCCEEDED),
            (JobState.RUNNING, JobState.FAILED),
            # The lease ran out or the fault may pass, and attempts are left.
            (JobState.RUNNING, JobState.PENDING),
            (JobState.RUNNING, JobState.CANCELLED),
        }
    ),
    active=frozenset({JobState.PENDING, JobState.RUNNING}),
)

MODEL: Lifecycle[ModelState] = Lifecycle(
    name="model",
    states=ModelState,
    # The model that ships is installed as ACTIVE by the actor `system`; every later one starts
    # as CANDIDATE.
    initial=frozenset({ModelState.CANDIDATE, ModelState.ACTIVE}),
    moves=frozenset(
        {
            (ModelState.CANDIDATE, ModelState.SHADOW),
            (ModelState.CANDIDATE, ModelState.ACTIVE),
            (ModelState.CANDIDATE, ModelState.REJECTED),
            (ModelState.SHADOW, ModelState.ACTIVE),
            (ModelState.SHADOW, ModelState.REJECTED),
            (ModelState.ACTIVE, ModelState.RETIRED),
            (ModelState.RETIRED, ModelState.ACTIVE),
        }
    ),
    active=frozenset({ModelState.ACTIVE}),
)

CANDIDATE: Lifecycle[CandidateState] = Lifecycle(
    name="candidate",
    states=CandidateState,
    initial=frozenset({CandidateState.PENDING}),
    moves=frozenset(
        {
            (CandidateState.PENDING, CandidateState.ACCEPTED),
            (CandidateState.PENDING, CandidateState.REJECTED),
            (CandidateState.ACCEPTED, CandidateState.REJECTED),
            # What the decision rested on has changed, or a person opens it again.
            (CandidateState.ACCEPTED, CandidateState.PENDING),
            (CandidateState.REJECTED, CandidateState.PENDING),
            # Nothing says any longer what the image shows, or its patient's data was erased.
            (CandidateState.PENDING, CandidateState.LAPSED),
            (CandidateState.ACCEPTED, CandidateState.LAPSED),
            (CandidateState.REJECTED, CandidateState.LAPSED),
            (CandidateState.LAPSED, CandidateState.PENDING),
        }
    ),
    active=frozenset({CandidateState.PENDING, CandidateState.ACCEPTED}),
)

DELIVERY: Lifecycle[DeliveryState] = Lifecycle(
    name="delivery",
    states=DeliveryState,
    initial=frozenset({DeliveryState.PENDING}),
    moves=frozenset(
        {
            (DeliveryState.PENDING, DeliveryState.SENDING),
            # The lease ran out: the deliverer died, and nobody knows what the receiver got.
            (DeliveryState.SENDING, DeliveryState.SENDING),
            (DeliveryState.SENDING, DeliveryState.DELIVERED),
            # Attempts are left.
            (DeliveryState.SENDING, DeliveryState.PENDING),
            (DeliveryState.SENDING, DeliveryState.FAILED),
            # Sent once more, because a person or system asked for it.
            (DeliveryState.DELIVERED, DeliveryState.PENDING),
            (DeliveryState.FAILED, DeliveryState.PENDING),
        }
    ),
    # Later messages about the same job wait for these.
    active=frozenset({DeliveryState.PENDING, DeliveryState.SENDING}),
)
