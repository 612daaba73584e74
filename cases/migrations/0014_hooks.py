"""Webhooks: who is told of moves of jobs, what is on its way, and how each attempt went.

Safe while the earlier version still runs: it tells nobody, and there is no webhook yet.
"""

import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0013_bytes'),
    ]

    operations = [
        migrations.CreateModel(
            name='Webhook',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=80)),
                ('url', models.CharField(max_length=500)),
                ('events', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=20), size=None)),
                ('enabled', models.BooleanField(default=True)),
                ('off_reason', models.CharField(blank=True, max_length=12)),
                ('off_at', models.DateTimeField(null=True)),
                ('secret', models.TextField()),
                ('secret_made_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('previous_secret', models.TextField(blank=True)),
                ('previous_until', models.DateTimeField(null=True)),
                ('failing_since', models.DateTimeField(null=True)),
                ('delivered_at', models.DateTimeField(null=True)),
                ('created_by', models.CharField(max_length=160)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name='WebhookAttempt',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField()),
                ('outcome', models.CharField(max_length=20)),
                ('status_code', models.PositiveSmallIntegerField(null=True)),
                ('detail', models.CharField(max_length=300)),
                ('duration_ms', models.FloatField()),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['number'],
            },
        ),
        migrations.CreateModel(
            name='WebhookDelivery',
            fields=[
                ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(max_length=20)),
                ('state', models.CharField(default='PENDING', max_length=12)),
                ('attempt', models.PositiveIntegerField(default=0)),
                ('tries', models.PositiveSmallIntegerField(default=0)),
                ('available_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('worker', models.CharField(blank=True, max_length=120)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('finished_at', models.DateTimeField(null=True)),
                ('replayed_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddIndex(
            model_name='jobevent',
            index=django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['at'], name='jobevent_at'),
        ),
        migrations.AddField(
            model_name='webhook',
            name='site',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='webhooks', to='cases.site'),
        ),
        migrations.AddField(
            model_name='webhookdelivery',
            name='event',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.jobevent'),
        ),
        migrations.AddField(
            model_name='webhookdelivery',
            name='job',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.job'),
        ),
        migrations.AddField(
            model_name='webhookdelivery',
            name='webhook',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='cases.webhook'),
        ),
        migrations.AddField(
            model_name='webhookattempt',
            name='delivery',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='attempts', to='cases.webhookdelivery'),
        ),
        migrations.AddIndex(
            model_name='webhook',
            index=models.Index(condition=models.Q(('enabled', True)), fields=['site'], name='webhook_told'),
        ),
        migrations.AddConstraint(
            model_name='webhook',
            constraint=models.UniqueConstraint(fields=('site', 'name'), name='webhook_name_once'),
        ),
        migrations.AddConstraint(
            model_name='webhook',
            constraint=models.CheckConstraint(condition=models.Q(('events__contained_by', ['job.created', 'job.started', 'job.requeued', 'job.succeeded', 'job.failed', 'job.cancelled']), ('events__len__gt', 0)), name='webhook_events_known'),
        ),
        migrations.AddConstraint(
            model_name='webhook',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('enabled', True), ('off_at__isnull', True), ('off_reason', '')), models.Q(('enabled', False), ('off_at__isnull', False), ('off_reason__in', ['by_hand', 'failing', 'gone'])), _connector='OR'), name='webhook_off_exactly_with_a_reason'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('state__in', ['PENDING', 'SENDING'])), fields=['webhook', 'available_at'], name='delivery_due'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('state__in', ['PENDING', 'SENDING'])), fields=['webhook', 'job', 'event'], name='delivery_order_of_job'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(fields=['webhook', '-created_at', '-id'], name='delivery_log'),
        ),
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('state__in', ['PENDING', 'SENDING']), _negated=True), fields=['finished_at'], name='delivery_kept_until'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['PENDING', 'SENDING', 'DELIVERED', 'FAILED'])), name='delivery_state_known'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['job.created', 'job.started', 'job.requeued', 'job.succeeded', 'job.failed', 'job.cancelled', 'ping'])), name='delivery_kind_known'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', True), ('state__in', ['PENDING', 'SENDING'])), models.Q(models.Q(('state__in', ['PENDING', 'SENDING']), _negated=True), ('finished_at__isnull', False)), _connector='OR'), name='delivery_finished_at_exactly_when_ended'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('event__isnull', True), ('job__isnull', True), ('kind', 'ping')), models.Q(models.Q(('kind', 'ping'), _negated=True), ('event__isnull', False), ('job__isnull', False)), _connector='OR'), name='delivery_names_its_event'),
        ),
        migrations.AddConstraint(
            model_name='webhookdelivery',
            constraint=models.UniqueConstraint(fields=('webhook', 'event'), name='delivery_once'),
        ),
        migrations.AddConstraint(
            model_name='webhookattempt',
            constraint=models.CheckConstraint(condition=models.Q(('outcome__in', ['delivered', 'bad_status', 'redirected', 'gone', 'timed_out', 'not_resolved', 'address_refused', 'not_connected', 'tls_failed', 'bad_answer', 'interrupted', 'secret_unreadable'])), name='attempt_outcome_known'),
        ),
        migrations.AddConstraint(
            model_name='webhookattempt',
            constraint=models.UniqueConstraint(fields=('delivery', 'number'), name='attempt_once'),
        ),
    ]
