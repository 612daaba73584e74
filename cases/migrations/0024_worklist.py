"""The worklist: a row per case to filter and order by, saved views, and indexes to search by.

Triggers note which cases changed; `services.worklist` makes their rows anew (docs/adr/0018). They
only add rows to a table of their own, so nobody waits for them. What there is before is noted here
and made by the first sweeps.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
import uuid
from django.conf import settings
from django.db import migrations, models

_BODY = """
CREATE FUNCTION bcweb_worklist_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO cases_worklistchange (case_id) {select};
  RETURN NULL;
END
$$;
"""
FUNCTIONS = {
    # Of jobs and results that were made: each names its image, replays and shadows do not.
    "of_image": "SELECT DISTINCT image.case_id FROM made "
    "JOIN cases_image AS image ON image.id = made.image_id",
    # Of jobs that moved, not of those whose lease was kept.
    "of_move": "SELECT DISTINCT image.case_id FROM made JOIN gone USING (id) "
    "JOIN cases_image AS image ON image.id = made.image_id WHERE made.state <> gone.state",
    "itself": "SELECT made.id FROM made",
    "of_withdrawal": "SELECT DISTINCT made.case_id FROM made",
    "of_reading": "SELECT DISTINCT made.case_id FROM made WHERE made.signed_at IS NOT NULL",
    "of_patient": "SELECT kase.id FROM made JOIN gone USING (id) "
    "JOIN cases_case AS kase ON kase.patient_id = made.id "
    "WHERE made.erased_at IS DISTINCT FROM gone.erased_at",
}
# Table, what happens to it, function.
TRIGGERS = (
    ("cases_case", "INSERT", "itself"),
    ("cases_job", "INSERT", "of_image"),
    ("cases_job", "UPDATE", "of_move"),
    ("cases_result", "INSERT", "of_image"),
    ("cases_resultwithdrawal", "INSERT", "of_withdrawal"),
    ("cases_reading", "INSERT", "of_reading"),
    ("cases_reading", "UPDATE", "of_reading"),
    ("cases_patient", "UPDATE", "of_patient"),
)
_TRIGGER = """
CREATE TRIGGER worklist_{event} AFTER {EVENT} ON {table}
  REFERENCING NEW TABLE AS made {old}
  FOR EACH STATEMENT EXECUTE FUNCTION bcweb_worklist_{function}();
"""
FORWARD = "".join(_BODY.format(name=name, select=sql) for name, sql in FUNCTIONS.items()) + "".join(
    _TRIGGER.format(
        event=event.lower(),
        EVENT=event,
        table=table,
        old="OLD TABLE AS gone" if event == "UPDATE" else "",
        function=function,
    )
    for table, event, function in TRIGGERS
)
BACKWARD = "".join(
    f"DROP TRIGGER worklist_{event.lower()} ON {table};" for table, event, _ in TRIGGERS
) + "".join(f"DROP FUNCTION bcweb_worklist_{name}();" for name in FUNCTIONS)

# Short-lived rows: tidied by their number, not by their share of a table that is nearly empty.
TIDY = """
ALTER TABLE cases_worklistchange SET (autovacuum_vacuum_scale_factor = 0,
                                      autovacuum_vacuum_threshold = 1000);
INSERT INTO cases_worklistchange (case_id) SELECT id FROM cases_case;
"""
UNTIDY = "DELETE FROM cases_worklistchange;"

# By the beginning of a number or of a word of the name. The expressions are those that
# `selectors.worklist_search` asks with.
SEARCH = """
CREATE INDEX case_accession_begins ON cases_case (site_id, upper(accession_number::text)
  text_pattern_ops) WHERE accession_number <> '';
CREATE INDEX patient_id_begins ON cases_patient (site_id, upper(patient_id::text)
  text_pattern_ops) WHERE patient_id <> '';
CREATE INDEX patient_name_words ON cases_patient
  USING gin (to_tsvector('simple', translate(name, '^=,.-''', '      ')));
"""
UNSEARCH = """
DROP INDEX patient_name_words;
DROP INDEX patient_id_begins;
DROP INDEX case_accession_begins;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0023_admin'),
    ]

    operations = [
        migrations.CreateModel(
            name='WorklistChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('case_id', models.UUIDField()),
            ],
        ),
        migrations.CreateModel(
            name='SavedView',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=40)),
                ('filters', models.JSONField(default=dict)),
                ('is_default', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='saved_views', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['created_at', 'id'],
                'constraints': [models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='savedview_has_a_name'), models.UniqueConstraint(fields=('user', 'name'), name='savedview_name_once'), models.UniqueConstraint(condition=models.Q(('is_default', True)), fields=('user',), name='savedview_one_default')],
            },
        ),
        migrations.CreateModel(
            name='WorklistEntry',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('arrived_at', models.DateTimeField()),
                ('priority', models.PositiveSmallIntegerField(choices=[(0, 'stat'), (1, 'urgent'), (2, 'routine')])),
                ('state', models.CharField(choices=[('reading', 'reading'), ('waiting', 'waiting'), ('failed', 'failed'), ('cancelled', 'cancelled'), ('done', 'done'), ('erased', 'erased')], max_length=12)),
                ('answer', models.CharField(choices=[('above', 'above'), ('below', 'below'), ('no_lesion', 'no_lesion'), ('abstained', 'abstained'), ('refused', 'refused'), ('withdrawn', 'withdrawn'), ('none', 'none')], max_length=12)),
                ('top_score', models.FloatField()),
                ('rank', models.PositiveSmallIntegerField()),
                ('place', models.BigIntegerField()),
                ('case', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='entry', to='cases.case')),
                ('site', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.site')),
            ],
            options={
                'indexes': [models.Index(fields=['site', 'rank', 'place', 'case'], name='worklist_order'), models.Index(fields=['site', '-arrived_at', '-case'], name='worklist_newest'), models.Index(fields=['site', '-top_score', '-case'], name='worklist_score'), models.Index(fields=['site', 'id'], name='worklist_number'), models.Index(condition=models.Q(('state', 'done'), _negated=True), fields=['site', 'state', '-arrived_at', '-case'], name='worklist_unfinished'), models.Index(condition=models.Q(('answer__in', ['above', 'below', 'no_lesion']), _negated=True), fields=['site', 'answer', '-arrived_at', '-case'], name='worklist_unanswered'), models.Index(condition=models.Q(('priority', 2), _negated=True), fields=['site', 'priority', '-arrived_at', '-case'], name='worklist_urgent')],
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['reading', 'waiting', 'failed', 'cancelled', 'done', 'erased'])), name='worklist_state_known'), models.CheckConstraint(condition=models.Q(('answer__in', ['above', 'below', 'no_lesion', 'abstained', 'refused', 'withdrawn', 'none'])), name='worklist_answer_known'), models.CheckConstraint(condition=models.Q(('priority__in', [0, 1, 2])), name='worklist_priority_known')],
            },
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
        migrations.RunSQL(TIDY, UNTIDY),
        migrations.RunSQL(SEARCH, UNSEARCH),
    ]
