"""What the audit trail says of backups: they carry everybody's data out of the database."""

from __future__ import annotations

from django.db import transaction

from cases.access import Actor
from cases.services.audit import audit_record


@transaction.atomic
def backup_note(*, actor: Actor, size: int, members: int, with_patient_key: bool) -> None:
    """Note that a backup was made; of every site, for it holds all of them."""
    audit_record(
        actor=actor,
        action="service.backed_up",
        object_type="service",
        detail={"bytes": size, "members": members, "patient_key": with_patient_key},
        every_site=True,
    )
