"""Indexes of what the API lists and searches: submissions by time, patients by id and name."""

import django.contrib.postgres.indexes
import django.db.models.functions.text
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0024_worklist'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='patient',
            index=models.Index(fields=['site', 'patient_id'], name='patient_by_id'),
        ),
        migrations.AddIndex(
            model_name='patient',
            index=models.Index(models.F('site'), django.contrib.postgres.indexes.OpClass(django.db.models.functions.text.Upper('name'), name='text_pattern_ops'), name='patient_by_name'),
        ),
        migrations.AddIndex(
            model_name='submission',
            index=models.Index(fields=['site', '-created_at', '-id'], name='submission_of_site'),
        ),
    ]
