"""Indexes for long lists, and a queue that is tidied before it grows a tail.

Each job is changed twice, and what is left of a row that was waiting lies at the head of the
queue's index: by Postgres' own measure a fifth of the table must have changed before it is cleaned,
by this one a hundredth.
"""

import django.contrib.postgres.indexes
import django.db.models.deletion
from django.db import migrations, models

TIDY = """
ALTER TABLE cases_job SET (autovacuum_vacuum_scale_factor = 0.01,
                           autovacuum_vacuum_threshold = 500,
                           autovacuum_analyze_scale_factor = 0.02);
"""
UNTIDY = """
ALTER TABLE cases_job RESET (autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold,
                             autovacuum_analyze_scale_factor);
"""


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0017_seal'),
    ]

    operations = [
        migrations.AlterField(
            model_name='job',
            name='site',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='jobs', to='cases.site'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(fields=['action', '-id'], name='audit_of_action'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['at'], name='audit_at', pages_per_range=32),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(fields=['site', '-created_at', '-id'], name='job_of_site'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('kind', 'inference'), _negated=True), fields=['site', 'kind', '-created_at', '-id'], name='job_of_site_by_kind'),
        ),
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('state__in', ['FAILED', 'CANCELLED'])), fields=['site', 'state', '-created_at', '-id'], name='job_of_site_unanswered'),
        ),
        migrations.RunSQL(TIDY, UNTIDY),
    ]
