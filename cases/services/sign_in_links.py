"""One-time links by which people choose their own password: nobody else ever knows it.

The key in a link is Django's: signed, and made of the stored password and the last sign-in, so that
it ends once a password is chosen, another link is made, or PASSWORD_RESET_TIMEOUT is over.
"""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.password_validation import validate_password
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.exceptions import ValidationError
from django.db import transaction

from cases.errors import FieldInvalid, StateConflict
from cases.models import User
from cases.services.audit import audit_record
from cases.services.people import actor_for_user


class LinkEnded(StateConflict):
    """Used, replaced, too old, or never made: a stranger learns no more."""

    title = "This link cannot be used"
    default_detail = (
        "The link was used before, was replaced by a newer one, or is too old. Ask an "
        "administrator of your site for a new one."
    )


class _Keys(PasswordResetTokenGenerator):
    key_salt = "cases.services.sign_in_links"


_keys = _Keys()


def sign_in_key(user: User) -> str:
    """The key of a link for ``user`` as the account is now."""
    return _keys.make_token(user)


def link_user(*, user_id: UUID, key: str) -> User:
    """Whose password a link chooses. ``LinkEnded``."""
    return _holder(User.objects.filter(pk=user_id).first(), key)


@transaction.atomic
def password_choose(*, user_id: UUID, key: str, password: str, again: str) -> User:
    """Set the password of a link's owner; the link ends. Of two at once the first one counts.

    ``LinkEnded``; ``FieldInvalid`` for a weak password, or two that differ (the link stays).
    """
    user = _holder(User.objects.select_for_update(no_key=True).filter(pk=user_id).first(), key)
    errors: dict[str, list[str]] = {}
    try:
        validate_password(password, user)
    except ValidationError as error:
        errors["password"] = list(error.messages)
    if password != again:
        errors["again"] = ["The two passwords differ."]
    if errors:
        raise FieldInvalid(errors=errors)
    user.set_password(password)
    user.save(update_fields=["password"])
    audit_record(
        actor=actor_for_user(user),
        action="user.password_chosen",
        object_type="user",
        object_id=user.pk,
        changed_fields=["password"],
    )
    return user


def _holder(user: User | None, key: str) -> User:
    if user is None or not user.is_active or not _keys.check_token(user, key):
        raise LinkEnded()
    return user
