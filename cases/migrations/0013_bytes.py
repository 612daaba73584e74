"""Which rows need an object of the storage: found by its name, and a snapshot's document by its hash.

Safe while the earlier version still runs: a snapshot that it registers meanwhile has no hash, and
its document is then checked by its id and form alone.
"""

import hashlib

from django.db import migrations, models


def hash_documents(apps, schema_editor):
    """Of documents in Postgres: no earlier version could keep them anywhere else."""
    Snapshot = apps.get_model("cases", "TrainingSnapshot")
    Chunk = apps.get_model("cases", "BlobChunk")
    for pk, name in Snapshot.objects.values_list("pk", "storage_name"):
        digest = hashlib.sha256()
        pieces = Chunk.objects.filter(blob_id=name).order_by("index").values_list("data", flat=True)
        seen = False
        for piece in pieces.iterator(chunk_size=8):
            digest.update(piece)
            seen = True
        if seen:
            Snapshot.objects.filter(pk=pk).update(document_sha256=digest.hexdigest())


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0012_keys'),
    ]

    operations = [
        migrations.AddField(
            model_name='trainingsnapshot',
            name='document_sha256',
            field=models.CharField(blank=True, db_default='', default='', max_length=64),
        ),
        migrations.RunPython(hash_documents, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name='image',
            index=models.Index(fields=['storage_name'], name='image_storage_name'),
        ),
        migrations.AddIndex(
            model_name='frame',
            index=models.Index(fields=['storage_name'], name='frame_storage_name'),
        ),
    ]
