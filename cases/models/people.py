"""Sites, the people and systems that work there, and the tokens systems carry."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from cases.access import Role, Scope
from cases.models.checks import choice_check


class Site(models.Model):
    """A hospital or practice. Users, cases and jobs belong to one; nobody sees another's."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    code = models.SlugField(max_length=32, unique=True)
    name = models.CharField(max_length=120)
    # Issuer of Patient ID (0010,0021) where a submission names none.
    patient_issuer = models.CharField(max_length=64)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


class User(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="users", null=True)
    is_demo = models.BooleanField(default=False)

    REQUIRED_FIELDS: ClassVar[list[str]] = []
    # Where they were read together with the token, so that a request need not ask twice.
    roles_read: list[str] | None = None

    @property
    def roles(self) -> frozenset[Role]:
        """The roles held, read once per instance (prefetched with the session, or with the
        token)."""
        if self.roles_read is not None:
            return frozenset(Role(role) for role in self.roles_read)
        return frozenset(Role(row.role) for row in self.role_rows.all())


class UserRole(models.Model):
    """A role somebody else gave: nobody grants themselves one, says the database too."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="role_rows")
    role = models.CharField(max_length=20, choices=[(r.value, r.value) for r in Role])
    granted_by = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    granted_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "role"], name="userrole_once"),
            choice_check("role", Role, name="userrole_known"),
            models.CheckConstraint(
                condition=models.Q(granted_by__isnull=True)
                | ~models.Q(granted_by=models.F("user")),
                name="userrole_not_by_self",
            ),
        ]


class ApiToken(models.Model):
    """A bearer token of a user, kept as the SHA-256 of its 256 random bits.

    A fast hash is right here: nobody guesses 256 random bits, and each request pays for it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=80)
    token_hash = models.CharField(max_length=64, unique=True)
    # The first characters, so that people can tell tokens apart.
    prefix = models.CharField(max_length=12)
    scopes = ArrayField(models.CharField(max_length=20))
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(scopes__contained_by=[s.value for s in Scope])
                & models.Q(scopes__len__gt=0),
                name="apitoken_scopes_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
