"""Of which snapshots a schedule takes the newest, and an index for what drift is held against.

Safe while the earlier version still runs: schedules of before, and those it adds meanwhile, take the
newest of whatever kind, as they did.
"""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0014_hooks'),
    ]

    operations = [
        migrations.AddField(
            model_name='trainingschedule',
            name='lineage',
            field=models.CharField(choices=[('any', 'any'), ('frozen', 'frozen'), ('imported', 'imported')], db_default='any', default='any', max_length=12),
        ),
        migrations.AddField(
            model_name='trainingschedule',
            name='lineage_name',
            field=models.CharField(blank=True, db_default='', default='', max_length=200),
        ),
        migrations.AddConstraint(
            model_name='trainingschedule',
            constraint=models.CheckConstraint(condition=models.Q(('lineage__in', ['any', 'frozen', 'imported'])), name='trainingschedule_lineage_known'),
        ),
        migrations.AddConstraint(
            model_name='trainingschedule',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('lineage', 'imported'), models.Q(('lineage_name', ''), _negated=True)), models.Q(models.Q(('lineage', 'imported'), _negated=True), ('lineage_name', '')), _connector='OR'), name='trainingschedule_folder_named'),
        ),
        migrations.AddIndex(
            model_name='result',
            index=models.Index(condition=models.Q(models.Q(('outcome', 'refused'), _negated=True), ('feature_distance__isnull', False)), fields=['model_version', 'created_at', 'id'], name='result_with_distance'),
        ),
    ]
