"""What people state that lies outside the models' evidence: append-only, by trigger as in 0002.

Safe while the earlier version still runs: a new table that it does not know.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

FORWARD = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON cases_casecircumstance
  FOR EACH ROW EXECUTE FUNCTION bcweb_append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON cases_casecircumstance
  FOR EACH STATEMENT EXECUTE FUNCTION bcweb_append_only();
ALTER TABLE cases_casecircumstance ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE cases_casecircumstance ENABLE ALWAYS TRIGGER append_only_truncate;
"""

BACKWARD = """
DROP TRIGGER append_only_truncate ON cases_casecircumstance;
DROP TRIGGER append_only ON cases_casecircumstance;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0021_reading'),
    ]

    operations = [
        migrations.CreateModel(
            name='CaseCircumstance',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(choices=[('implant', 'implant'), ('lactating', 'lactating'), ('treated', 'treated')], max_length=12)),
                ('applies', models.BooleanField()),
                ('stated_by_label', models.CharField(max_length=160)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('case', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='circumstances', to='cases.case')),
                ('stated_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['id'],
                'indexes': [models.Index(fields=['case', 'kind', '-id'], name='circumstance_of_case')],
                'constraints': [models.CheckConstraint(condition=models.Q(('kind__in', ['implant', 'lactating', 'treated'])), name='circumstance_kind_known')],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
