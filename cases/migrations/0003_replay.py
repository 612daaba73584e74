"""Replay: a result computed again, and what a result needs for that.

Safe while the earlier version still runs: new columns of `Result` are empty or have a default in
the database, new constraints hold for all that it writes. Jobs and results are locked while their
checks are validated and the index of active replays is built. What replays found is never
changed, by the trigger that guards results (0002).
"""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


GUARD = """
CREATE TRIGGER unchangeable BEFORE UPDATE ON cases_replay
  FOR EACH ROW EXECUTE FUNCTION bcweb_append_only();
ALTER TABLE cases_replay ENABLE ALWAYS TRIGGER unchangeable;
"""
UNGUARD = "DROP TRIGGER unchangeable ON cases_replay;"


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0002_audit_append_only'),
    ]

    operations = [
        migrations.CreateModel(
            name='Replay',
            fields=[
                ('job', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, serialize=False, to='cases.job')),
                ('equal', models.BooleanField()),
                ('differences', models.JSONField(default=list)),
                ('tolerance', models.FloatField()),
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
            name='replay_of',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='replay_jobs', to='cases.result'),
        ),
        migrations.AddField(
            model_name='result',
            name='minimum_score',
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name='result',
            name='reason_code',
            field=models.CharField(blank=True, db_default='', max_length=40),
        ),
        migrations.AddField(
            model_name='result',
            name='temperature',
            field=models.FloatField(null=True),
        ),
        migrations.AddField(
            model_name='result',
            name='transform',
            field=models.JSONField(null=True),
        ),
        migrations.AlterField(
            model_name='job',
            name='kind',
            field=models.CharField(choices=[('inference', 'inference'), ('training', 'training'), ('replay', 'replay')], max_length=16),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['inference', 'training', 'replay'])), name='job_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'replay'), _negated=True), models.Q(('frame__isnull', False), ('image__isnull', True), ('model_version__isnull', False), ('replay_of__isnull', False)), _connector='OR'), name='job_replay_names_its_result'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.UniqueConstraint(condition=models.Q(('state__in', ['PENDING', 'RUNNING'])), fields=('replay_of',), name='job_one_active_replay'),
        ),
        migrations.AddField(
            model_name='replay',
            name='result',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='replays', to='cases.result'),
        ),
        migrations.AddIndex(
            model_name='replay',
            index=models.Index(fields=['result', '-created_at'], name='replay_of_result'),
        ),
        migrations.AddConstraint(
            model_name='replay',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('differences', []), ('equal', True)), models.Q(('equal', False), models.Q(('differences', []), _negated=True)), _connector='OR'), name='replay_equal_exactly_without_differences'),
        ),
        migrations.RemoveConstraint(
            model_name='result',
            name='result_scores_unless_refused',
        ),
        migrations.AddConstraint(
            model_name='result',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('heatmap__isnull', True), ('outcome', 'refused'), ('score_benign__isnull', True), ('score_malignant__isnull', True), ('score_normal__isnull', True), models.Q(('reason', ''), _negated=True)), models.Q(models.Q(('outcome', 'refused'), _negated=True), ('score_benign__isnull', False), ('score_benign__range', (0, 1)), ('score_malignant__isnull', False), ('score_malignant__range', (0, 1)), ('score_normal__isnull', False), ('score_normal__range', (0, 1))), _connector='OR'), name='result_scores_unless_refused'),
        ),
        migrations.RunSQL(GUARD, UNGUARD),
    ]
