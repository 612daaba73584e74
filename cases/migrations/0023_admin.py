"""Openings of a patient's identity, and who did what in the audit trail without walking it."""

import datetime
import uuid

import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

# The free text that an erasure may empty; "" where there is none.
GUARDED = {"cases_identityopening": "reason", "cases_identityclosing": ""}

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
)
BACKWARD = "".join(
    f"DROP TRIGGER append_only_truncate ON {table}; DROP TRIGGER append_only ON {table};"
    for table in GUARDED
)


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0022_viewer'),
    ]

    operations = [
        migrations.CreateModel(
            name='IdentityOpening',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('session', models.CharField(max_length=64)),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('opened_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('expires_at', models.DateTimeField()),
                ('case', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='openings', to='cases.case')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-opened_at', '-id'],
                'indexes': [models.Index(fields=['case', '-opened_at'], name='opening_of_case')],
                'constraints': [models.CheckConstraint(condition=models.Q(('expires_at__gt', models.F('opened_at')), ('expires_at__lte', django.db.models.expressions.CombinedExpression(models.F('opened_at'), '+', models.Value(datetime.timedelta(seconds=3600))))), name='opening_ends_soon')],
            },
        ),
        migrations.CreateModel(
            name='IdentityClosing',
            fields=[
                ('opening', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='closing', serialize=False, to='cases.identityopening')),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(condition=models.Q(('user_id__isnull', False)), fields=['user_id', '-id'], name='audit_of_user'),
        ),
        migrations.AddIndex(
            model_name='auditevent',
            index=models.Index(condition=models.Q(('user_id__isnull', True)), fields=['actor_label', '-id'], name='audit_of_machine'),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
