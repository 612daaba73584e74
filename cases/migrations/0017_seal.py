"""Seals of the audit trail, which the database itself refuses to change or remove; and counts of the
moves of jobs for `/metrics`."""

import django.db.models.expressions
from django.db import migrations, models

FORWARD = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON cases_auditseal
  FOR EACH ROW EXECUTE FUNCTION bcweb_append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON cases_auditseal
  FOR EACH STATEMENT EXECUTE FUNCTION bcweb_append_only();
ALTER TABLE cases_auditseal ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE cases_auditseal ENABLE ALWAYS TRIGGER append_only_truncate;
"""
BACKWARD = """
DROP TRIGGER append_only_truncate ON cases_auditseal;
DROP TRIGGER append_only ON cases_auditseal;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0016_ops'),
    ]

    operations = [
        migrations.CreateModel(
            name='AuditSeal',
            fields=[
                ('number', models.PositiveBigIntegerField(primary_key=True, serialize=False)),
                ('algorithm', models.CharField(max_length=20)),
                ('after_id', models.BigIntegerField()),
                ('first_id', models.BigIntegerField()),
                ('last_id', models.BigIntegerField(unique=True)),
                ('count', models.PositiveIntegerField()),
                ('entries', models.BinaryField()),
                ('previous', models.CharField(blank=True, max_length=64, unique=True)),
                ('hash', models.CharField(max_length=64, unique=True)),
                ('horizon_id', models.BigIntegerField()),
                ('horizon_at', models.DateTimeField()),
                ('sealed_at', models.DateTimeField()),
            ],
            options={
                'ordering': ['number'],
                'constraints': [
                    models.CheckConstraint(condition=models.Q(models.Q(('number', 1), ('previous', '')), models.Q(('number__gt', 1), models.Q(('previous', ''), _negated=True)), _connector='OR'), name='auditseal_only_the_first_follows_none'),
                    models.CheckConstraint(condition=models.Q(('after_id__lt', models.F('first_id')), ('first_id__lte', models.F('last_id')), ('last_id__lte', models.F('horizon_id'))), name='auditseal_is_a_run_of_ids'),
                    models.CheckConstraint(condition=models.Q(('count__gte', 1), ('count', django.db.models.expressions.CombinedExpression(models.Func(models.F('entries'), function='octet_length', output_field=models.IntegerField()), '/', models.Value(40)))), name='auditseal_lists_each_event'),
                ],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.CreateModel(
            name='JobTally',
            fields=[
                ('id', models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('last_event_id', models.BigIntegerField(default=0)),
                ('counts', models.JSONField(default=dict)),
                ('complete_at', models.DateTimeField(null=True)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='jobtally_one_row')],
            },
        ),
    ]
