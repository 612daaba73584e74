"""Plans of schedules, who stands behind their runs, and patients of snapshots by keyed hash.

Who edited a schedule before is taken from the audit trail. An edit that the earlier version makes
after this has run is in the trail alone: restart it soon. Keys of patients come with the next
import of a folder. The new tables are never changed, by the triggers of 0002.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

APPEND_ONLY = ("cases_scheduleedit", "cases_trainingorderer", "cases_snapshotpatient")

GUARD = "".join(
    f"""
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}
  FOR EACH ROW EXECUTE FUNCTION bcweb_append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION bcweb_append_only();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_truncate;
"""
    for table in APPEND_ONLY
)
UNGUARD = "".join(
    f"DROP TRIGGER append_only_truncate ON {table}; DROP TRIGGER append_only ON {table};"
    for table in APPEND_ONLY
)

BACKFILL = """
INSERT INTO cases_scheduleedit (schedule_id, user_id, at)
SELECT schedule.id, event.user_id, event.at
FROM cases_auditevent event
JOIN cases_trainingschedule schedule ON schedule.id::text = event.object_id
JOIN cases_user person ON person.id = event.user_id
WHERE event.object_type = 'schedule'
  AND (event.action IN ('schedule.created', 'schedule.changed')
       OR (event.action = 'schedule.switched' AND event.detail->>'enabled' = 'true'))
ORDER BY event.id;

INSERT INTO cases_trainingorderer (run_id, user_id)
SELECT DISTINCT run.job_id, edit.user_id
FROM cases_trainingrun run
JOIN cases_scheduleedit edit ON edit.schedule_id = run.schedule_id AND edit.at <= run.created_at;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0007_gate'),
    ]

    operations = [
        migrations.AddField(
            model_name='trainingschedule',
            name='plan',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.gateplan'),
        ),
        migrations.CreateModel(
            name='ScheduleEdit',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('schedule', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='edits', to='cases.trainingschedule')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='SnapshotPatient',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(max_length=76)),
                ('snapshot', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='patient_keys', to='cases.trainingsnapshot')),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('snapshot', 'key'), name='snapshotpatient_once'), models.CheckConstraint(condition=models.Q(('key__regex', '^hmac-sha256:[0-9a-f]{64}$')), name='snapshotpatient_names_no_patient')],
            },
        ),
        migrations.CreateModel(
            name='TrainingOrderer',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('run', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='orderers', to='cases.trainingrun')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['id'],
                'constraints': [models.UniqueConstraint(fields=('run', 'user'), name='trainingorderer_once')],
            },
        ),
        migrations.RunSQL(GUARD, UNGUARD),
        # Last: a table with rows that wait for their checks cannot be altered.
        migrations.RunSQL(BACKFILL, migrations.RunSQL.noop),
    ]
