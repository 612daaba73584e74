"""Gate plans, the runs that are judged by them, and the uses of locked sets.

Safe while the earlier version still runs: it makes no plan, and its runs have empty columns. Plans
and uses are never changed, by the triggers of 0002.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.conf import settings
from django.db import migrations, models


APPEND_ONLY = ("cases_gateplan", "cases_lockedsetuse")

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


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0006_training'),
    ]

    operations = [
        migrations.CreateModel(
            name='LockedSetUse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('facts', models.JSONField(default=dict)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.AddField(
            model_name='trainingrun',
            name='gate_report',
            field=models.CharField(blank=True, db_default='', default='', max_length=128),
        ),
        migrations.AddField(
            model_name='trainingrun',
            name='plan_sha256',
            field=models.CharField(blank=True, db_default='', default='', max_length=64),
        ),
        migrations.CreateModel(
            name='GatePlan',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=80)),
                ('document', models.JSONField()),
                ('sha256', models.CharField(max_length=64)),
                ('malignant_patients', models.PositiveIntegerField()),
                ('created_by', models.CharField(max_length=160)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('created_by_user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('locked_set', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='gate_plans', to='cases.trainingsnapshot')),
                ('site', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.site')),
            ],
            options={
                'ordering': ['-created_at', '-id'],
            },
        ),
        migrations.AddField(
            model_name='trainingrun',
            name='plan',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='cases.gateplan'),
        ),
        migrations.AddConstraint(
            model_name='trainingrun',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('gate_report', ''), ('plan__isnull', True), ('plan_sha256', '')), models.Q(('plan__isnull', False), ('plan_sha256__regex', '^[0-9a-f]{64}$')), _connector='OR'), name='trainingrun_plan_frozen'),
        ),
        migrations.AddConstraint(
            model_name='trainingrun',
            constraint=models.CheckConstraint(condition=models.Q(('plan__isnull', True), models.Q(('gate_report', ''), ('model_version__isnull', True)), models.Q(('model_version__isnull', False), models.Q(('gate_report', ''), _negated=True)), _connector='OR'), name='trainingrun_judged_by_its_plan'),
        ),
        migrations.AddField(
            model_name='lockedsetuse',
            name='plan',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='uses', to='cases.gateplan'),
        ),
        migrations.AddField(
            model_name='lockedsetuse',
            name='run',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='locked_use', to='cases.trainingrun'),
        ),
        migrations.AddField(
            model_name='lockedsetuse',
            name='snapshot',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='uses', to='cases.trainingsnapshot'),
        ),
        migrations.AddConstraint(
            model_name='gateplan',
            constraint=models.UniqueConstraint(fields=('site', 'name'), name='gateplan_name_once'),
        ),
        migrations.AddConstraint(
            model_name='gateplan',
            constraint=models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='gateplan_has_a_name'),
        ),
        migrations.AddConstraint(
            model_name='gateplan',
            constraint=models.CheckConstraint(condition=models.Q(('sha256__regex', '^[0-9a-f]{64}$')), name='gateplan_named_by_its_hash'),
        ),
        migrations.RunSQL(GUARD, UNGUARD),
    ]
