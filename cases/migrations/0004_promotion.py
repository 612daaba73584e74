"""Promotion of models by two people, the switch that suspends answers, and models in shadow.

Safe while the earlier version still runs: new columns are empty, new constraints hold for all that
it writes. Jobs and results are locked while their checks are validated and their indexes built.
What was decided, suspended or found is never changed, by the triggers of 0002.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.conf import settings
from django.db import migrations, models

APPEND_ONLY = ("cases_gateverdict", "cases_modelfault", "cases_servingevent")

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
) + """
CREATE TRIGGER unchangeable BEFORE UPDATE ON cases_shadowresult
  FOR EACH ROW EXECUTE FUNCTION bcweb_append_only();
ALTER TABLE cases_shadowresult ENABLE ALWAYS TRIGGER unchangeable;
-- A request is decided once, and stays.
CREATE TRIGGER decided_once BEFORE UPDATE ON cases_promotionrequest
  FOR EACH ROW WHEN (OLD.decision <> '') EXECUTE FUNCTION bcweb_append_only();
CREATE TRIGGER never_deleted BEFORE DELETE ON cases_promotionrequest
  FOR EACH ROW EXECUTE FUNCTION bcweb_append_only();
ALTER TABLE cases_promotionrequest ENABLE ALWAYS TRIGGER decided_once;
ALTER TABLE cases_promotionrequest ENABLE ALWAYS TRIGGER never_deleted;
"""
UNGUARD = """
DROP TRIGGER never_deleted ON cases_promotionrequest;
DROP TRIGGER decided_once ON cases_promotionrequest;
DROP TRIGGER unchangeable ON cases_shadowresult;
""" + "".join(
    f"DROP TRIGGER append_only_truncate ON {table}; DROP TRIGGER append_only ON {table};"
    for table in APPEND_ONLY
)


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0003_replay'),
    ]

    operations = [
        migrations.CreateModel(
            name='GateVerdict',
            fields=[
                ('model_version', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='gate', serialize=False, to='cases.modelversion')),
                ('state', models.CharField(choices=[('passed', 'passed'), ('failed', 'failed'), ('insufficient_evidence', 'insufficient_evidence')], max_length=24)),
                ('limits', models.JSONField(default=list)),
                ('plan_sha256', models.CharField(max_length=64)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name='ModelFault',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('code', models.CharField(choices=[('file_damaged', 'file_damaged'), ('not_loadable', 'not_loadable')], max_length=24)),
                ('actor', models.CharField(max_length=160)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='PromotionRequest',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('target', models.CharField(choices=[('SHADOW', 'SHADOW'), ('ACTIVE', 'ACTIVE')], max_length=16)),
                ('reason', models.CharField(max_length=500)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('decision', models.CharField(blank=True, choices=[('approved', 'approved'), ('declined', 'declined'), ('withdrawn', 'withdrawn')], default='', max_length=12)),
                ('decision_reason', models.CharField(blank=True, max_length=500)),
                ('decided_at', models.DateTimeField(null=True)),
            ],
            options={
                'ordering': ['-created_at', '-id'],
            },
        ),
        migrations.CreateModel(
            name='ServingEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('change', models.CharField(choices=[('suspended', 'suspended'), ('resumed', 'resumed')], max_length=12)),
                ('reason', models.CharField(max_length=500)),
                ('actor', models.CharField(max_length=160)),
                ('user_id', models.UUIDField(null=True)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.CreateModel(
            name='ShadowResult',
            fields=[
                ('job', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='shadow_result', serialize=False, to='cases.job')),
                ('outcome', models.CharField(choices=[('answered', 'answered'), ('abstained', 'abstained'), ('refused', 'refused')], max_length=12)),
                ('reason_code', models.CharField(blank=True, max_length=40)),
                ('label', models.CharField(blank=True, choices=[('benign', 'benign'), ('malignant', 'malignant'), ('normal', 'normal')], max_length=12)),
                ('score_benign', models.FloatField(null=True)),
                ('score_malignant', models.FloatField(null=True)),
                ('score_normal', models.FloatField(null=True)),
                ('threshold', models.FloatField()),
                ('agrees', models.BooleanField()),
                ('engine', models.CharField(max_length=80)),
                ('duration_ms', models.FloatField()),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='job',
            name='job_kind_known',
        ),
        migrations.AddField(
            model_name='job',
            name='shadow_of',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='shadow_jobs', to='cases.result'),
        ),
        migrations.AlterField(
            model_name='job',
            name='kind',
            field=models.CharField(choices=[('inference', 'inference'), ('training', 'training'), ('replay', 'replay'), ('shadow', 'shadow')], max_length=16),
        ),
        migrations.AddIndex(
            model_name='result',
            index=models.Index(fields=['model_version', 'created_at', 'id'], name='result_of_model'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['inference', 'training', 'replay', 'shadow'])), name='job_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'shadow'), _negated=True), models.Q(('frame__isnull', False), ('image__isnull', True), ('model_version__isnull', False), ('shadow_of__isnull', False)), _connector='OR'), name='job_shadow_names_its_result'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.UniqueConstraint(fields=('shadow_of', 'model_version'), name='job_shadow_once'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'SHADOW')), fields=('state',), name='modelversion_one_shadow'),
        ),
        migrations.AddConstraint(
            model_name='gateverdict',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['passed', 'failed', 'insufficient_evidence'])), name='gateverdict_state_known'),
        ),
        migrations.AddConstraint(
            model_name='gateverdict',
            constraint=models.CheckConstraint(condition=models.Q(('plan_sha256__regex', '^[0-9a-f]{64}$')), name='gateverdict_names_its_plan'),
        ),
        migrations.AddField(
            model_name='modelfault',
            name='model_version',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='faults', to='cases.modelversion'),
        ),
        migrations.AddField(
            model_name='promotionrequest',
            name='decided_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='promotionrequest',
            name='model_version',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='promotion_requests', to='cases.modelversion'),
        ),
        migrations.AddField(
            model_name='promotionrequest',
            name='requested_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddConstraint(
            model_name='servingevent',
            constraint=models.CheckConstraint(condition=models.Q(('change__in', ['suspended', 'resumed'])), name='servingevent_change_known'),
        ),
        migrations.AddConstraint(
            model_name='servingevent',
            constraint=models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='servingevent_has_a_reason'),
        ),
        migrations.AddField(
            model_name='shadowresult',
            name='model_version',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='shadow_results', to='cases.modelversion'),
        ),
        migrations.AddField(
            model_name='shadowresult',
            name='result',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='shadow_results', to='cases.result'),
        ),
        migrations.AddConstraint(
            model_name='modelfault',
            constraint=models.CheckConstraint(condition=models.Q(('code__in', ['file_damaged', 'not_loadable'])), name='modelfault_code_known'),
        ),
        migrations.AddConstraint(
            model_name='promotionrequest',
            constraint=models.CheckConstraint(condition=models.Q(('target__in', ('SHADOW', 'ACTIVE'))), name='promotion_target_known'),
        ),
        migrations.AddConstraint(
            model_name='promotionrequest',
            constraint=models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='promotion_has_a_reason'),
        ),
        migrations.AddConstraint(
            model_name='promotionrequest',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('decided_at__isnull', True), ('decided_by__isnull', True), ('decision', ''), ('decision_reason', '')), models.Q(('decided_at__isnull', False), ('decided_by__isnull', False), ('decision__in', ['approved', 'declined', 'withdrawn']), models.Q(('decision_reason', ''), _negated=True)), _connector='OR'), name='promotion_decided_whole'),
        ),
        migrations.AddConstraint(
            model_name='promotionrequest',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('decision__in', ('approved', 'declined')), _negated=True), models.Q(('decided_by', models.F('requested_by')), _negated=True), _connector='OR'), name='promotion_by_a_second_person'),
        ),
        migrations.AddConstraint(
            model_name='promotionrequest',
            constraint=models.UniqueConstraint(condition=models.Q(('decision', '')), fields=('model_version',), name='promotion_one_open_per_model'),
        ),
        migrations.AddIndex(
            model_name='shadowresult',
            index=models.Index(fields=['model_version', '-created_at'], name='shadowresult_of_model'),
        ),
        migrations.AddConstraint(
            model_name='shadowresult',
            constraint=models.CheckConstraint(condition=models.Q(('outcome__in', ['answered', 'abstained', 'refused'])), name='shadowresult_outcome_known'),
        ),
        migrations.AddConstraint(
            model_name='shadowresult',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('label', ''), ('outcome', 'refused')), models.Q(models.Q(('outcome', 'refused'), _negated=True), ('label__in', ['benign', 'malignant', 'normal'])), _connector='OR'), name='shadowresult_label_unless_refused'),
        ),
        migrations.AddConstraint(
            model_name='shadowresult',
            constraint=models.UniqueConstraint(fields=('result', 'model_version'), name='shadowresult_once_per_model'),
        ),
        migrations.RunSQL(GUARD, UNGUARD),
    ]
