"""Uploaded bytes in chunks of 1 MiB: one transaction holds row and bytes (docs/adr/0001)."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class Blob(models.Model):
    """A stored object. It appears together with its last chunk, in one transaction."""

    name = models.CharField(max_length=128, primary_key=True)
    size = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(db_default=Now())


class BlobChunk(models.Model):
    blob = models.ForeignKey(Blob, on_delete=models.CASCADE, related_name="chunks")
    index = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        ordering = ["index"]
        constraints = [models.UniqueConstraint(fields=["blob", "index"], name="blobchunk_once")]
