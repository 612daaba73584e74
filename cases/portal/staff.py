"""Accounts, sites and tokens in words; their forms as data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext

from cases.access import Role, Scope
from cases.errors import UserFacingError
from cases.models import Site, User
from cases.portal.forms import FieldSpec
from cases.portal.lazily import lazy as _
from cases.portal.lazily import pgettext_lazy
from cases.portal.training_forms import PlainForm, plain_form
from cases.portal.wording import StateWords
from cases.selectors.staff import TokenStanding

ROLES: dict[Role, tuple[str, str]] = {
    Role.SONOGRAPHER: (_("Sonographer"), _("submits images, sees cases and their patients")),
    Role.RADIOLOGIST: (_("Radiologist"), _("reads cases, signs readings, records outcomes")),
    Role.ADMIN: (_("Administrator"), _("runs the service and its users, sees cases without names")),
    Role.APPROVER: (_("Approver"), _("decides which model goes live")),
    Role.AUDITOR: (_("Auditor"), _("sees the audit trail and nothing else")),
    Role.INTEGRATION: (_("System"), _("sends images and fetches answers by tokens")),
}
SCOPES: dict[Scope, str] = {
    Scope.SUBMIT: _("Send images"),
    Scope.READ: _("Read what its owner may see"),
    Scope.OUTCOMES: _("Record outcomes"),
    Scope.ADMIN: _("Operate: failed images, webhooks, training"),
}
TOKEN_STATES: dict[str, tuple[str, StateWords]] = {
    "live": (pgettext_lazy("token", "Live"), StateWords("live", "good", "", "")),
    "expired": (_("Expired"), StateWords("clock", "neutral", "", "")),
    "revoked": (_("Revoked"), StateWords("slash", "neutral", "", "")),
    "closed": (_("Account closed"), StateWords("slash", "neutral", "", "")),
}

USERNAME = FieldSpec(
    "username",
    _("User name"),
    max_length=150,
    hint=_("What they type to sign in. Letters, digits and @ . + - _ only; it cannot be changed."),
)
SIGNS_IN = FieldSpec(
    "signs_in",
    _("How they get in"),
    kind="radios",
    choices=(
        ("link", _("They sign in: the next page shows a link by which they choose their password")),
        ("token", _("Not at all: a system, which works by tokens")),
    ),
    default="link",
)
CODE = FieldSpec(
    "code", _("Code"), max_length=32,
    hint=_("Short and lower-case, for commands. It cannot be changed."),
)  # fmt: skip
SITE_NAME = FieldSpec("name", _("Name"), max_length=120, hint=_("As people of the site call it."))
ISSUER = FieldSpec(
    "patient_issuer",
    _("Issuer of its patient ids"),
    max_length=64,
    hint=_(
        "Stands beside each patient id that is sent without an Issuer of Patient ID. Empty: the "
        "code in capitals."
    ),
)
ADMINISTRATOR = FieldSpec(
    "administrator",
    _("User name of its first administrator"),
    max_length=150,
    hint=_("A new account. Whoever has it says who else works there."),
)
REASON = FieldSpec(
    "reason",
    _("Reason, where the issuer changes"),
    max_length=500,
    hint=_("Kept in the audit trail. No patient's identity."),
)
TOKEN_NAME = FieldSpec(
    "token_name", _("Name"), max_length=80, hint=_("What will carry it, for example: PACS gateway.")
)
DAYS = FieldSpec(
    "days", _("Lasts"), kind="number", minimum="1", maximum="3650", step="1", unit=_("days"),
    default="90", width="third",
)  # fmt: skip


@dataclass(frozen=True)
class Box:
    """One of several boxes of a form."""

    value: str
    label: str
    hint: str
    checked: bool


@dataclass(frozen=True)
class BoxForm:
    """Plain fields, and one group of boxes."""

    plain: PlainForm
    boxes: tuple[Box, ...]
    box_errors: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[Any, ...]:
        return self.plain.problems

    @property
    def title(self) -> str:
        return self.plain.title


def _box_form(
    specs: Sequence[FieldSpec],
    group: FieldSpec,
    boxes: Iterable[Box],
    typed: Mapping[str, str] | None,
    error: UserFacingError | None,
) -> BoxForm:
    # The group is bound as a field of its own, so that its sentences are summed up too.
    plain = plain_form([*specs, group], typed, error=error)
    return BoxForm(plain, tuple(boxes), tuple(plain.fields[group.name].errors))


def role_boxes(held: Iterable[str]) -> tuple[Box, ...]:
    chosen = set(held)
    return tuple(Box(r.value, *words, r.value in chosen) for r, words in ROLES.items())


def user_form(
    typed: Mapping[str, str] | None = None,
    roles: Sequence[str] = (),
    error: UserFacingError | None = None,
) -> BoxForm:
    group = FieldSpec("roles", gettext("Roles"))
    return _box_form([USERNAME, SIGNS_IN], group, role_boxes(roles), typed, error)


def token_form(
    scopes: Sequence[Scope],
    owners: Sequence[User],
    typed: Mapping[str, str] | None = None,
    chosen: Sequence[str] = (),
    error: UserFacingError | None = None,
) -> BoxForm:
    """``owners``: for whom a token can be made; the first one is oneself."""
    mine, *systems = owners
    owner = FieldSpec(
        "owner",
        gettext("Whose token"),
        kind="select",
        choices=(
            (str(mine.pk), gettext("Yours (%(user)s)") % {"user": mine.get_username()}),
            *(
                (str(user.pk), gettext("The system %(user)s") % {"user": user.get_username()})
                for user in systems
            ),
        ),
        default=str(mine.pk),
        hint=gettext("A token can do what its owner may, and no more than its scopes say."),
    )
    boxes = [Box(s.value, SCOPES[s], "", s.value in chosen) for s in scopes]
    return _box_form(
        [owner, TOKEN_NAME, DAYS], FieldSpec("scopes", gettext("Scopes")), boxes, typed, error
    )


def site_new_form(
    typed: Mapping[str, str] | None = None, error: UserFacingError | None = None
) -> PlainForm:
    return plain_form([CODE, SITE_NAME, ISSUER, ADMINISTRATOR], typed, error=error)


def site_form(
    site: Site, typed: Mapping[str, str] | None = None, error: UserFacingError | None = None
) -> PlainForm:
    stored = {"name": site.name, "patient_issuer": site.patient_issuer}
    return plain_form([SITE_NAME, ISSUER, REASON], typed or stored, error=error)


@dataclass(frozen=True)
class UserLine:
    """A user as the list shows them."""

    user: User

    @property
    def roles(self) -> str:
        return ", ".join(str(ROLES[role][0]) for role in ROLES if role in self.user.roles)

    @property
    def state(self) -> StateWords:
        if not self.user.is_active:
            return StateWords("slash", "neutral", "", "")
        if self.user.roles and self.invited:
            return StateWords("clock", "info", "", "")
        return StateWords("live" if self.user.roles else "question", "neutral", "", "")

    @property
    def words(self) -> str:
        if not self.user.is_active:
            return gettext("Closed")
        if not self.user.roles:
            return gettext("No role")
        return gettext("Password not chosen yet") if self.invited else gettext("Open")

    @property
    def invited(self) -> bool:
        """Whether they could sign in and have no password: not a system, which needs none."""
        return not self.user.has_usable_password() and self.user.roles != {Role.INTEGRATION}

    @property
    def is_system(self) -> bool:
        """Whether it works by tokens alone, and never had a password."""
        return not self.user.has_usable_password() and self.user.roles == {Role.INTEGRATION}


@dataclass(frozen=True)
class TokenLine:
    """A token as the list shows it."""

    standing: TokenStanding

    @property
    def token(self) -> Any:
        return self.standing.token

    @property
    def words(self) -> str:
        return TOKEN_STATES[self.standing.state][0]

    @property
    def state(self) -> StateWords:
        return TOKEN_STATES[self.standing.state][1]

    @property
    def is_live(self) -> bool:
        return self.standing.state == "live"

    @property
    def scopes(self) -> str:
        return scope_words(self.token.scopes)


def scope_words(scopes: Iterable[str]) -> str:
    return "; ".join(str(SCOPES[Scope(scope)]) for scope in scopes)
