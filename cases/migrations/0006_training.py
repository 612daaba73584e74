"""Trainings: snapshots, runs with their epochs, schedules and what came of their firings.

Safe while the earlier version still runs: it makes no trainings, and all its jobs meet the new
check. Jobs are locked while the check is validated and the index of running trainings is built.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0005_review'),
        ('django_celery_beat', '0019_alter_periodictasks_options'),
    ]

    operations = [
        migrations.CreateModel(
            name='ScheduleFiring',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('outcome', models.CharField(choices=[('started', 'started'), ('not_met', 'not_met'), ('refused', 'refused')], max_length=16)),
                ('why', models.CharField(max_length=500)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='TrainingEpoch',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('epoch', models.PositiveSmallIntegerField()),
                ('values', models.JSONField()),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['epoch'],
            },
        ),
        migrations.CreateModel(
            name='TrainingRun',
            fields=[
                ('job', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='training_run', serialize=False, to='cases.job')),
                ('recipe', models.CharField(choices=[('bcweb', 'bcweb'), ('paper', 'paper')], max_length=16)),
                ('init', models.CharField(max_length=120)),
                ('seed', models.PositiveIntegerField(default=0)),
                ('epochs', models.PositiveSmallIntegerField(null=True)),
                ('size', models.PositiveSmallIntegerField(null=True)),
                ('limit_images', models.PositiveIntegerField(null=True)),
                ('reason', models.CharField(max_length=500)),
                ('requested_by', models.CharField(max_length=160)),
                ('idempotency_owner', models.UUIDField(null=True)),
                ('idempotency_key', models.CharField(blank=True, max_length=200)),
                ('fingerprint', models.CharField(blank=True, max_length=64)),
                ('facts', models.JSONField(default=dict)),
                ('log_tail', models.TextField(blank=True)),
                ('weights_sha256', models.CharField(blank=True, max_length=64)),
                ('card', models.JSONField(null=True)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='TrainingSchedule',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=80)),
                ('recipe', models.CharField(choices=[('bcweb', 'bcweb'), ('paper', 'paper')], max_length=16)),
                ('init', models.CharField(max_length=120)),
                ('seed', models.PositiveIntegerField(default=0)),
                ('epochs', models.PositiveSmallIntegerField(null=True)),
                ('size', models.PositiveSmallIntegerField(null=True)),
                ('limit_images', models.PositiveIntegerField(null=True)),
                ('min_new_images', models.PositiveIntegerField(default=0)),
                ('window_start', models.TimeField(null=True)),
                ('window_end', models.TimeField(null=True)),
                ('created_by', models.CharField(max_length=160)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['name', 'id'],
            },
        ),
        migrations.CreateModel(
            name='TrainingSnapshot',
            fields=[
                ('id', models.CharField(max_length=64, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=200)),
                ('images', models.PositiveIntegerField()),
                ('classes', models.JSONField()),
                ('sources', models.JSONField(default=list)),
                ('grouping', models.JSONField(default=dict)),
                ('skipped', models.PositiveIntegerField(default=0)),
                ('data_root', models.CharField(blank=True, max_length=1000)),
                ('storage_name', models.CharField(max_length=128)),
                ('created_by', models.CharField(max_length=160)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['-created_at', '-id'],
            },
        ),
        migrations.AddField(
            model_name='job',
            name='model_line',
            field=models.CharField(max_length=40, null=True),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('kind', 'training'), ('model_line__isnull', False)), models.Q(models.Q(('kind', 'training'), _negated=True), ('model_line__isnull', True)), _connector='OR'), name='job_training_names_its_line'),
        ),
        migrations.AddConstraint(
            model_name='job',
            constraint=models.UniqueConstraint(condition=models.Q(('state', 'RUNNING')), fields=('model_line',), name='job_one_training_at_a_time'),
        ),
        migrations.AddField(
            model_name='trainingrun',
            name='init_model',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.modelversion'),
        ),
        migrations.AddField(
            model_name='trainingrun',
            name='model_version',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='training_runs', to='cases.modelversion'),
        ),
        migrations.AddField(
            model_name='trainingrun',
            name='requested_by_user',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='trainingepoch',
            name='run',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='epoch_rows', to='cases.trainingrun'),
        ),
        migrations.AddField(
            model_name='schedulefiring',
            name='run',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.trainingrun'),
        ),
        migrations.AddField(
            model_name='trainingschedule',
            name='created_by_user',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='trainingschedule',
            name='site',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.site'),
        ),
        migrations.AddField(
            model_name='trainingschedule',
            name='task',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='django_celery_beat.periodictask'),
        ),
        migrations.AddField(
            model_name='trainingrun',
            name='schedule',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='cases.trainingschedule'),
        ),
        migrations.AddField(
            model_name='schedulefiring',
            name='schedule',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='firings', to='cases.trainingschedule'),
        ),
        migrations.AddField(
            model_name='trainingrun',
            name='snapshot',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='cases.trainingsnapshot'),
        ),
        migrations.AddConstraint(
            model_name='trainingepoch',
            constraint=models.UniqueConstraint(fields=('run', 'epoch'), name='trainingepoch_once'),
        ),
        migrations.AddConstraint(
            model_name='trainingschedule',
            constraint=models.CheckConstraint(condition=models.Q(('recipe__in', ['bcweb', 'paper'])), name='trainingschedule_recipe_known'),
        ),
        migrations.AddConstraint(
            model_name='trainingschedule',
            constraint=models.UniqueConstraint(fields=('site', 'name'), name='trainingschedule_name_once'),
        ),
        migrations.AddConstraint(
            model_name='trainingschedule',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('window_end__isnull', True), ('window_start__isnull', True)), models.Q(('window_end__isnull', False), ('window_start__isnull', False)), _connector='OR'), name='trainingschedule_window_whole'),
        ),
        migrations.AddConstraint(
            model_name='schedulefiring',
            constraint=models.CheckConstraint(condition=models.Q(('outcome__in', ['started', 'not_met', 'refused'])), name='schedulefiring_outcome_known'),
        ),
        migrations.AddConstraint(
            model_name='schedulefiring',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('outcome', 'started'), ('run__isnull', False)), models.Q(models.Q(('outcome', 'started'), _negated=True), ('run__isnull', True)), _connector='OR'), name='schedulefiring_run_exactly_when_started'),
        ),
        migrations.AddIndex(
            model_name='trainingrun',
            index=models.Index(condition=models.Q(('idempotency_key', ''), _negated=True), fields=['idempotency_owner', 'idempotency_key', '-created_at'], name='trainingrun_idempotency'),
        ),
        migrations.AddConstraint(
            model_name='trainingrun',
            constraint=models.CheckConstraint(condition=models.Q(('recipe__in', ['bcweb', 'paper'])), name='trainingrun_recipe_known'),
        ),
        migrations.AddConstraint(
            model_name='trainingrun',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('init', 'active'), ('init_model__isnull', False)), models.Q(models.Q(('init', 'active'), _negated=True), ('init_model__isnull', True)), _connector='OR'), name='trainingrun_active_names_its_model'),
        ),
        migrations.AddConstraint(
            model_name='trainingrun',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('card__isnull', True), ('model_version__isnull', True), ('weights_sha256', '')), models.Q(('card__isnull', False), ('model_version__isnull', False), models.Q(('weights_sha256', ''), _negated=True)), _connector='OR'), name='trainingrun_output_whole'),
        ),
    ]
