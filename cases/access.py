"""Who may do what: roles and token scopes as data, and the actor of every write.

A role gives capabilities inside the user's own site. A bearer token never has more than its
owner's roles and its own scopes both allow. Promotion of a model is in no scope: it takes a
person at the portal.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from cases.errors import PermissionDenied


class Role(StrEnum):
    SONOGRAPHER = "sonographer"
    RADIOLOGIST = "radiologist"
    ADMIN = "admin"
    APPROVER = "approver"
    AUDITOR = "auditor"
    INTEGRATION = "integration"


class Scope(StrEnum):
    SUBMIT = "submit"
    READ = "read"
    OUTCOMES = "outcomes"
    ADMIN = "admin"


class Capability(StrEnum):
    SUBMIT = "submit"
    VIEW_CASES = "view_cases"
    # Names, birth dates and patient ids in clear. Administrators work without them.
    VIEW_IDENTITY = "view_identity"
    # To see them all the same, of one case and for a while, with a reason. In no scope.
    OPEN_IDENTITY = "open_identity"
    READ_CASES = "read_cases"
    # What a finding turned out to be: people, and systems that carry pathology reports.
    RECORD_OUTCOMES = "record_outcomes"
    VIEW_MODELS = "view_models"
    VIEW_AUDIT = "view_audit"
    MANAGE_USERS = "manage_users"
    OPERATE = "operate"
    # A patient's data deleted for good. In no scope: it takes a person at the portal.
    ERASE = "erase"
    CURATE = "curate"
    TRAIN = "train"
    PROMOTE = "promote"


C = Capability

ROLE_CAPABILITIES: dict[Role, frozenset[Capability]] = {
    Role.SONOGRAPHER: frozenset({C.SUBMIT, C.VIEW_CASES, C.VIEW_IDENTITY, C.VIEW_MODELS}),
    Role.RADIOLOGIST: frozenset(
        {
            C.SUBMIT,
            C.VIEW_CASES,
            C.VIEW_IDENTITY,
            C.READ_CASES,
            C.RECORD_OUTCOMES,
            C.VIEW_MODELS,
        }
    ),
    Role.ADMIN: frozenset(
        {
            C.VIEW_CASES,
            C.VIEW_MODELS,
            C.VIEW_AUDIT,
            C.MANAGE_USERS,
            C.OPERATE,
            C.OPEN_IDENTITY,
            C.ERASE,
            C.CURATE,
            C.TRAIN,
        }
    ),
    Role.APPROVER: frozenset({C.VIEW_MODELS, C.PROMOTE}),
    Role.AUDITOR: frozenset({C.VIEW_AUDIT}),
    Role.INTEGRATION: frozenset(
        {C.SUBMIT, C.VIEW_CASES, C.VIEW_IDENTITY, C.RECORD_OUTCOMES, C.VIEW_MODELS}
    ),
}

SCOPE_CAPABILITIES: dict[Scope, frozenset[Capability]] = {
    Scope.SUBMIT: frozenset({C.SUBMIT}),
    Scope.READ: frozenset({C.VIEW_CASES, C.VIEW_IDENTITY, C.VIEW_MODELS, C.VIEW_AUDIT}),
    Scope.OUTCOMES: frozenset({C.RECORD_OUTCOMES}),
    Scope.ADMIN: frozenset({C.MANAGE_USERS, C.OPERATE, C.CURATE, C.TRAIN}),
}

# Whoever can do one of these can have a token that does it too.
TOKEN_CAPABILITIES: tuple[Capability, ...] = tuple(
    sorted(frozenset().union(*SCOPE_CAPABILITIES.values()))
)


def useful_scopes(roles: frozenset[Role]) -> tuple[Scope, ...]:
    """The scopes that give a token of somebody with ``roles`` anything to do."""
    return tuple(scope for scope in Scope if capabilities_of(roles, frozenset({scope})))


def capabilities_of(
    roles: frozenset[Role], scopes: frozenset[Scope] | None = None
) -> frozenset[Capability]:
    """What ``roles`` allow; with ``scopes`` (a token), only what both allow."""
    by_role: frozenset[Capability] = frozenset().union(*(ROLE_CAPABILITIES[r] for r in roles))
    if scopes is None:
        return by_role
    by_scope: frozenset[Capability] = frozenset().union(*(SCOPE_CAPABILITIES[s] for s in scopes))
    return by_role & by_scope


class ActorKind(StrEnum):
    USER = "user"
    TOKEN = "token"
    WORKER = "worker"
    COMMAND = "command"
    SYSTEM = "system"


class OpenedBy(StrEnum):
    """Whose signed reading of a case opens the model's answers to an actor whose site reads first
    (docs/adr/0014)."""

    OWN = "own"
    ANYBODY = "anybody"


@dataclass(frozen=True)
class Actor:
    """Who or what does something. Every service takes one; audit refuses a write without.

    ``label`` is a user name, worker name or command name: never a patient's.
    """

    kind: ActorKind
    label: str
    user_id: UUID | None = None
    token_id: UUID | None = None
    site_id: UUID | None = None
    capabilities: frozenset[Capability] = field(default_factory=frozenset)
    request_id: str = ""
    # None: answers are open to this actor from the start.
    opened_by: OpenedBy | None = None

    def can(self, capability: Capability) -> bool:
        # The machine's own hands are not limited by roles: they are limited by code.
        if self.kind in (ActorKind.WORKER, ActorKind.COMMAND, ActorKind.SYSTEM):
            return True
        return capability in self.capabilities

    @property
    def own_site(self) -> UUID:
        """The site whose rows this actor may touch. ``PermissionDenied`` without one."""
        if self.site_id is None:
            raise PermissionDenied("Your account belongs to no site.")
        return self.site_id

    def require(self, capability: Capability) -> None:
        """Raise ``PermissionDenied`` (403) unless the actor has ``capability``."""
        if not self.can(capability):
            raise PermissionDenied()


SYSTEM = Actor(kind=ActorKind.SYSTEM, label="system")
