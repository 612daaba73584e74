"""Curation: candidates for training data, snapshots of accepted images, the patients' sides.

Safe while the earlier version still runs: it makes no candidate and no freeze, and its snapshots
have an empty role. The outcomes it records meanwhile become candidates at the next set-up
(`setup_service`).

Sides and frozen pictures are never changed, by the triggers of 0002; of a candidate's trail an
erasure may empty the reasons, and nothing else, by that of 0005.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.conf import settings
from django.db import migrations, models


# Table -> the one column that an erasure may empty ("": none).
GUARDED = {
    "cases_patientpartition": "",
    "cases_frozenpicture": "",
    "cases_candidateevent": "reason",
}
FORWARD = "".join(
    f"""
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}
  FOR EACH ROW EXECUTE FUNCTION bcweb_only_erased('{column}');
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION bcweb_append_only();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_truncate;
"""
    for table, column in GUARDED.items()
) + """
-- A frozen picture is on the side of its patient, and that side stands before it.
ALTER TABLE cases_patientpartition
  ADD CONSTRAINT partition_key_and_role UNIQUE (patient_key, role);
ALTER TABLE cases_frozenpicture
  ADD CONSTRAINT frozen_on_its_patients_side FOREIGN KEY (patient_key, role)
  REFERENCES cases_patientpartition (patient_key, role);
"""
BACKWARD = """
ALTER TABLE cases_frozenpicture DROP CONSTRAINT frozen_on_its_patients_side;
ALTER TABLE cases_patientpartition DROP CONSTRAINT partition_key_and_role;
""" + "".join(
    f"DROP TRIGGER append_only_truncate ON {table}; DROP TRIGGER append_only ON {table};"
    for table in GUARDED
) + """
-- The earlier version knows no freezes: their jobs go with their trail; the audit keeps that they
-- were. To it a snapshot of patients' images would be a folder that is everybody's: nobody trains
-- from one whose pictures are nowhere.
UPDATE cases_trainingsnapshot SET data_root = '' WHERE role <> '';
DELETE FROM cases_frozenpicture;
DELETE FROM cases_patientpartition;
DELETE FROM cases_snapshotfreeze;
SET CONSTRAINTS ALL IMMEDIATE;
ALTER TABLE cases_jobevent DISABLE TRIGGER append_only;
DELETE FROM cases_jobevent WHERE job_id IN (SELECT id FROM cases_job WHERE kind = 'freeze');
ALTER TABLE cases_jobevent ENABLE ALWAYS TRIGGER append_only;
DELETE FROM cases_job WHERE kind = 'freeze';
SET CONSTRAINTS ALL DEFERRED;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0009_watch'),
    ]

    operations = [
        migrations.CreateModel(
            name='CandidateEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('from_state', models.CharField(blank=True, max_length=16)),
                ('to_state', models.CharField(max_length=16)),
                ('label', models.CharField(blank=True, max_length=12)),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('actor', models.CharField(max_length=160)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='FrozenPicture',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('patient_key', models.CharField(max_length=80)),
                ('role', models.CharField(choices=[('training', 'training'), ('locked', 'locked')], max_length=12)),
                ('label', models.CharField(choices=[('benign', 'benign'), ('malignant', 'malignant'), ('normal', 'normal')], max_length=12)),
                ('basis', models.CharField(choices=[('histology', 'histology'), ('follow_up', 'follow_up'), ('reader_only', 'reader_only')], max_length=12)),
                ('sha256', models.CharField(max_length=64)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='PatientPartition',
            fields=[
                ('patient_key', models.CharField(max_length=80, primary_key=True, serialize=False)),
                ('role', models.CharField(choices=[('training', 'training'), ('locked', 'locked')], max_length=12)),
                ('key_id', models.CharField(max_length=16)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name='SnapshotFreeze',
            fields=[
                ('job', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='freeze', serialize=False, to='cases.job')),
                ('role', models.CharField(choices=[('training', 'training'), ('locked', 'locked')], max_length=12)),
                ('name', models.CharField(max_length=80)),
                ('share', models.PositiveSmallIntegerField(default=0)),
                ('reason', models.CharField(max_length=500)),
                ('requested_by', models.CharField(max_length=160)),
                ('left_out', models.JSONField(default=dict)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='TrainingCandidate',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('state', models.CharField(choices=[('PENDING', 'PENDING'), ('ACCEPTED', 'ACCEPTED'), ('REJECTED', 'REJECTED'), ('LAPSED', 'LAPSED')], default='PENDING', max_length=16)),
                ('conflict', models.CharField(blank=True, choices=[('findings', 'findings'), ('side', 'side')], max_length=12)),
                ('label', models.CharField(blank=True, choices=[('benign', 'benign'), ('malignant', 'malignant')], max_length=12)),
                ('basis', models.CharField(blank=True, choices=[('histology', 'histology'), ('follow_up', 'follow_up'), ('reader_only', 'reader_only')], max_length=12)),
                ('rests_on', models.JSONField(default=list)),
                ('box', models.JSONField(null=True)),
                ('identity_checked', models.BooleanField(default=False)),
                ('decided_at', models.DateTimeField(null=True)),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('version', models.PositiveIntegerField(default=1)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['-created_at', '-id'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='job',
            name='job_kind_known',
        ),
        migrations.AddField(
            model_name='trainingsnapshot',
            name='role',
            field=models.CharField(blank=True, choices=[('training', 'training'), ('locked', 'locked')], db_default='', default='', max_length=12),
        ),
        migrations.AlterField(
            model_name='job',
            name='kind',
            field=models.CharField(choices=[('inference', 'inference'), ('training', 'training'), ('replay', 'replay'), ('shadow', 'shadow'), ('freeze', 'freeze')], max_length=16),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['inference', 'training', 'replay', 'shadow', 'freeze'])), name='job_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='trainingsnapshot',
            constraint=models.CheckConstraint(condition=models.Q(('role', ''), ('role__in', ['training', 'locked']), _connector='OR'), name='trainingsnapshot_role_known'),
        ),
        migrations.AddField(
            model_name='candidateevent',
            name='case',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.case'),
        ),
        migrations.AddField(
            model_name='frozenpicture',
            name='outcome',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.findingoutcome'),
        ),
        migrations.AddField(
            model_name='snapshotfreeze',
            name='requested_by_user',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='snapshotfreeze',
            name='snapshot',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='freezes', to='cases.trainingsnapshot'),
        ),
        migrations.AddField(
            model_name='patientpartition',
            name='freeze',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.snapshotfreeze'),
        ),
        migrations.AddField(
            model_name='frozenpicture',
            name='freeze',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='pictures', to='cases.snapshotfreeze'),
        ),
        migrations.AddField(
            model_name='trainingcandidate',
            name='decided_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='trainingcandidate',
            name='image',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='candidate', to='cases.image'),
        ),
        migrations.AddField(
            model_name='trainingcandidate',
            name='outcome',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='candidates', to='cases.findingoutcome'),
        ),
        migrations.AddField(
            model_name='frozenpicture',
            name='candidate',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='frozen', to='cases.trainingcandidate'),
        ),
        migrations.AddField(
            model_name='candidateevent',
            name='candidate',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='events', to='cases.trainingcandidate'),
        ),
        migrations.AddConstraint(
            model_name='snapshotfreeze',
            constraint=models.CheckConstraint(condition=models.Q(('role__in', ['training', 'locked'])), name='freeze_role_known'),
        ),
        migrations.AddConstraint(
            model_name='snapshotfreeze',
            constraint=models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='freeze_has_a_name'),
        ),
        migrations.AddConstraint(
            model_name='snapshotfreeze',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('role', 'locked'), ('share__range', (0, 100))), models.Q(('role', 'training'), ('share', 0)), _connector='OR'), name='freeze_share_of_a_locked_set'),
        ),
        migrations.AddConstraint(
            model_name='patientpartition',
            constraint=models.CheckConstraint(condition=models.Q(('role__in', ['training', 'locked'])), name='partition_role_known'),
        ),
        migrations.AddConstraint(
            model_name='patientpartition',
            constraint=models.CheckConstraint(condition=models.Q(('patient_key__regex', '^hmac-sha256:[0-9a-f]{64}$')), name='partition_names_no_patient'),
        ),
        migrations.AddIndex(
            model_name='trainingcandidate',
            index=models.Index(fields=['state', '-created_at', '-id'], name='candidate_list'),
        ),
        migrations.AddConstraint(
            model_name='trainingcandidate',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['PENDING', 'ACCEPTED', 'REJECTED', 'LAPSED'])), name='candidate_state_known'),
        ),
        migrations.AddConstraint(
            model_name='trainingcandidate',
            constraint=models.CheckConstraint(condition=models.Q(('conflict', ''), ('conflict__in', ['findings', 'side']), _connector='OR'), name='candidate_conflict_known'),
        ),
        migrations.AddConstraint(
            model_name='trainingcandidate',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('label__in', ['benign', 'malignant']), ('basis__in', ['histology', 'follow_up', 'reader_only']), ('outcome__isnull', False)), models.Q(('basis', ''), ('label', ''), ('outcome__isnull', True)), _connector='OR'), name='candidate_label_has_its_outcome'),
        ),
        migrations.AddConstraint(
            model_name='trainingcandidate',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'LAPSED'), ('decided_at__isnull', True), ('decided_by__isnull', True), ('identity_checked', False), ('reason', ''), ('box__isnull', True), ('basis', ''), ('label', ''), ('outcome__isnull', True)), models.Q(('state', 'PENDING'), ('decided_at__isnull', True), ('decided_by__isnull', True), ('identity_checked', False), ('reason', ''), ('box__isnull', True)), models.Q(('box__isnull', True), ('identity_checked', False), ('state', 'REJECTED'), ('decided_at__isnull', False), ('decided_by__isnull', False), models.Q(('reason', ''), _negated=True)), models.Q(('box__isnull', False), ('identity_checked', True), ('state', 'ACCEPTED'), ('decided_at__isnull', False), ('decided_by__isnull', False), models.Q(('reason', ''), _negated=True), ('label__in', ['benign', 'malignant']), ('basis__in', ['histology', 'follow_up', 'reader_only']), ('outcome__isnull', False)), _connector='OR'), name='candidate_accepted_by_somebody_who_looked'),
        ),
        migrations.AddConstraint(
            model_name='trainingcandidate',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'PENDING'), _negated=True), models.Q(('conflict', ''), ('label__in', ['benign', 'malignant']), ('basis__in', ['histology', 'follow_up', 'reader_only']), ('outcome__isnull', False)), models.Q(models.Q(('conflict', ''), _negated=True), ('basis', ''), ('label', ''), ('outcome__isnull', True)), _connector='OR'), name='candidate_conflict_has_no_label'),
        ),
        migrations.AddConstraint(
            model_name='frozenpicture',
            constraint=models.CheckConstraint(condition=models.Q(('role__in', ['training', 'locked'])), name='frozen_role_known'),
        ),
        migrations.AddConstraint(
            model_name='frozenpicture',
            constraint=models.UniqueConstraint(fields=('freeze', 'candidate'), name='frozen_once'),
        ),
        migrations.AddConstraint(
            model_name='frozenpicture',
            constraint=models.CheckConstraint(condition=models.Q(('basis', 'reader_only'), ('role', 'locked'), _negated=True), name='frozen_locked_not_by_a_reader_alone'),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
