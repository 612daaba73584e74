"""That no site is left without an administrator, whoever asks at the same moment."""

from __future__ import annotations

from cases.access import Actor, ActorKind, Role
from cases.errors import StateConflict
from cases.models import Site, User


def administrator_stays(*, actor: Actor, user: User) -> None:
    """Hold the site for the rest of the transaction, and refuse to lose its last administrator.

    ``StateConflict`` where ``user`` is the only open account of the site with that role. Under the
    lock, so that of two administrators who close each other's accounts one stays. The machine's
    own hands may: a command can make another one.
    """
    if actor.kind not in (ActorKind.USER, ActorKind.TOKEN) or user.site_id is None:
        return
    Site.objects.select_for_update(no_key=True).get(pk=user.site_id)
    open_ones = User.objects.filter(
        site_id=user.site_id, is_active=True, role_rows__role=Role.ADMIN.value
    )
    # Asked after the lock: what the caller has read may have changed since.
    if not open_ones.filter(pk=user.pk).exists() or open_ones.exclude(pk=user.pk).exists():
        return
    raise StateConflict(
        f"{user.get_username()} is the only administrator of the site. "
        "Make somebody else one first."
    )
