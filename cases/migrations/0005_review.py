"""Readings, outcomes, withdrawals, corrections, erasure.

Safe while the earlier version still runs: new columns of `Patient` are empty or have a default in
the database, new constraints hold for all that it writes. Patients and tokens are locked while
their checks are validated.

Signed readings, outcomes, withdrawals, corrections and tombstones are never changed or removed, by
trigger as in 0002. Erasing a patient's data is the one exception, and a narrow one: the free text
of such a row (of a result, its heatmap) may be emptied, all else staying as it is, once the patient
it belongs to is marked as erased. A draft may change until it is signed.
"""

import datetime
import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
import uuid
from django.conf import settings
from django.db import migrations, models


# Table -> the one column that an erasure may empty ("": none).
GUARDED = {
    "cases_reading": "text",
    "cases_findingoutcome": "reason",
    "cases_resultwithdrawal": "reason",
    "cases_patientcorrection": "reason",
    "cases_patienterasure": "",
}

FORWARD = """
CREATE FUNCTION bcweb_is_erased(which jsonb) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT 1 FROM cases_patient patient
    WHERE patient.erased_at IS NOT NULL AND (
      patient.id = (which->>'from_patient_id')::uuid
      OR patient.id = (which->>'to_patient_id')::uuid
      OR patient.id = (
        SELECT patient_id FROM cases_case WHERE id = COALESCE(
          (which->>'case_id')::uuid,
          (SELECT case_id FROM cases_image WHERE id = (which->>'image_id')::uuid)
        )
      )
    )
  )
$$;
CREATE FUNCTION bcweb_only_erased() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  before jsonb := to_jsonb(OLD);
  later jsonb;
BEGIN
  IF TG_TABLE_NAME = 'cases_reading' AND before->>'signed_at' IS NULL THEN
    IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
    RETURN NEW;
  END IF;
  IF TG_OP = 'UPDATE' AND TG_ARGV[0] <> '' THEN
    later := to_jsonb(NEW);
    IF before - TG_ARGV[0] = later - TG_ARGV[0]
       AND COALESCE(later->>TG_ARGV[0], '') = '' AND bcweb_is_erased(before) THEN
      RETURN NEW;
    END IF;
  END IF;
  RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'insufficient_privilege';
END
$$;
DROP TRIGGER unchangeable ON cases_result;
CREATE TRIGGER unchangeable BEFORE UPDATE ON cases_result
  FOR EACH ROW EXECUTE FUNCTION bcweb_only_erased('heatmap');
ALTER TABLE cases_result ENABLE ALWAYS TRIGGER unchangeable;
""" + "".join(
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
) + """
DROP TRIGGER unchangeable ON cases_result;
CREATE TRIGGER unchangeable BEFORE UPDATE ON cases_result
  FOR EACH ROW EXECUTE FUNCTION bcweb_append_only();
ALTER TABLE cases_result ENABLE ALWAYS TRIGGER unchangeable;
DROP FUNCTION bcweb_only_erased();
DROP FUNCTION bcweb_is_erased(jsonb);
"""


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0004_promotion'),
    ]

    operations = [
        migrations.CreateModel(
            name='FindingOutcome',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('pathology', models.CharField(choices=[('invasive', 'invasive'), ('in_situ', 'in_situ'), ('high_risk', 'high_risk'), ('benign', 'benign'), ('insufficient', 'insufficient')], max_length=12)),
                ('basis', models.CharField(choices=[('histology', 'histology'), ('follow_up', 'follow_up'), ('reader_only', 'reader_only')], max_length=12)),
                ('stable_from', models.DateField(blank=True, null=True)),
                ('stable_until', models.DateField(blank=True, null=True)),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('recorded_by_label', models.CharField(max_length=160)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['created_at', 'id'],
            },
        ),
        migrations.CreateModel(
            name='PatientCorrection',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['at', 'id'],
            },
        ),
        migrations.CreateModel(
            name='PatientErasure',
            fields=[
                ('patient', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='erasure', serialize=False, to='cases.patient')),
                ('reason', models.CharField(max_length=500)),
                ('counts', models.JSONField()),
                ('ids', models.JSONField()),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.CreateModel(
            name='Reading',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('category', models.CharField(blank=True, choices=[('0', '0'), ('1', '1'), ('2', '2'), ('3', '3'), ('4A', '4A'), ('4B', '4B'), ('4C', '4C'), ('5', '5'), ('6', '6')], max_length=2)),
                ('edition', models.CharField(choices=[('birads_5_2013', 'birads_5_2013')], default='birads_5_2013', max_length=20)),
                ('label', models.CharField(choices=[('benign', 'benign'), ('malignant', 'malignant'), ('normal', 'normal'), ('none', 'none')], default='none', max_length=12)),
                ('text', models.TextField(blank=True, max_length=4000)),
                ('version', models.PositiveIntegerField(default=1)),
                ('ai_seen', models.BooleanField(null=True)),
                ('results_of_record', django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), default=list, size=None)),
                ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ('signed_at', models.DateTimeField(null=True)),
            ],
            options={
                'ordering': ['created_at', 'id'],
            },
        ),
        migrations.CreateModel(
            name='ResultWithdrawal',
            fields=[
                ('result', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='withdrawal', serialize=False, to='cases.result')),
                ('reason', models.CharField(blank=True, max_length=500)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='apitoken',
            name='apitoken_scopes_known',
        ),
        migrations.RemoveConstraint(
            model_name='patient',
            name='patient_identity',
        ),
        migrations.RemoveConstraint(
            model_name='patient',
            name='patient_identity_given',
        ),
        migrations.AddField(
            model_name='patient',
            name='erased_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='patient',
            name='research_opt_out',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddConstraint(
            model_name='apitoken',
            constraint=models.CheckConstraint(condition=models.Q(('scopes__contained_by', ['submit', 'read', 'outcomes', 'admin']), ('scopes__len__gt', 0)), name='apitoken_scopes_known'),
        ),
        migrations.AddConstraint(
            model_name='patient',
            constraint=models.UniqueConstraint(condition=models.Q(('erased_at__isnull', True)), fields=('site', 'issuer', 'patient_id'), name='patient_identity'),
        ),
        migrations.AddConstraint(
            model_name='patient',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('erased_at__isnull', True), models.Q(('patient_id', ''), _negated=True), models.Q(('issuer', ''), _negated=True)), models.Q(('birth_date__isnull', True), ('erased_at__isnull', False), ('issuer', ''), ('name', ''), ('patient_id', ''), ('sex', '')), _connector='OR'), name='patient_identity_given_until_erased'),
        ),
        migrations.AddField(
            model_name='findingoutcome',
            name='case',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='outcomes', to='cases.case'),
        ),
        migrations.AddField(
            model_name='findingoutcome',
            name='finding',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='outcomes', to='cases.finding'),
        ),
        migrations.AddField(
            model_name='findingoutcome',
            name='recorded_by',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='findingoutcome',
            name='supersedes',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='superseded_by', to='cases.findingoutcome'),
        ),
        migrations.AddField(
            model_name='patientcorrection',
            name='case',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='corrections', to='cases.case'),
        ),
        migrations.AddField(
            model_name='patientcorrection',
            name='corrected_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='patientcorrection',
            name='from_patient',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.patient'),
        ),
        migrations.AddField(
            model_name='patientcorrection',
            name='to_patient',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.patient'),
        ),
        migrations.AddField(
            model_name='patienterasure',
            name='erased_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='patienterasure',
            name='site',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='erasures', to='cases.site'),
        ),
        migrations.AddField(
            model_name='reading',
            name='addendum_to',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='addenda', to='cases.reading'),
        ),
        migrations.AddField(
            model_name='reading',
            name='case',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='readings', to='cases.case'),
        ),
        migrations.AddField(
            model_name='reading',
            name='finding',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='readings', to='cases.finding'),
        ),
        migrations.AddField(
            model_name='reading',
            name='reader',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='readings', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='resultwithdrawal',
            name='case',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='withdrawals', to='cases.case'),
        ),
        migrations.AddField(
            model_name='resultwithdrawal',
            name='withdrawn_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='findingoutcome',
            index=models.Index(fields=['finding', '-created_at'], name='outcome_of_finding'),
        ),
        migrations.AddConstraint(
            model_name='findingoutcome',
            constraint=models.CheckConstraint(condition=models.Q(('pathology__in', ['invasive', 'in_situ', 'high_risk', 'benign', 'insufficient'])), name='outcome_pathology_known'),
        ),
        migrations.AddConstraint(
            model_name='findingoutcome',
            constraint=models.CheckConstraint(condition=models.Q(('basis__in', ['histology', 'follow_up', 'reader_only'])), name='outcome_basis_known'),
        ),
        migrations.AddConstraint(
            model_name='findingoutcome',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('basis', 'follow_up'), ('pathology', 'benign'), ('stable_from__isnull', False), ('stable_until__isnull', False), ('stable_until__gte', django.db.models.expressions.CombinedExpression(models.F('stable_from'), '+', models.Value(datetime.timedelta(days=730))))), models.Q(models.Q(('basis', 'follow_up'), _negated=True), ('stable_from__isnull', True), ('stable_until__isnull', True)), _connector='OR'), name='outcome_follow_up_is_stable'),
        ),
        migrations.AddConstraint(
            model_name='findingoutcome',
            constraint=models.UniqueConstraint(condition=models.Q(('supersedes__isnull', True)), fields=('finding',), name='outcome_one_first'),
        ),
        migrations.AddConstraint(
            model_name='patientcorrection',
            constraint=models.CheckConstraint(condition=models.Q(('from_patient', models.F('to_patient')), _negated=True), name='correction_moves'),
        ),
        migrations.AddIndex(
            model_name='reading',
            index=models.Index(fields=['case', 'signed_at'], name='reading_of_case'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('category', ''), ('category__in', ['0', '1', '2', '3', '4A', '4B', '4C', '5', '6']), _connector='OR'), name='reading_category_known'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('edition__in', ['birads_5_2013'])), name='reading_edition_known'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('label__in', ['benign', 'malignant', 'normal', 'none'])), name='reading_label_known'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ai_seen__isnull', True), ('results_of_record', []), ('signed_at__isnull', True)), models.Q(('ai_seen__isnull', False), ('signed_at__isnull', False)), _connector='OR'), name='reading_signed_says_what_was_seen'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('signed_at__isnull', True), ('addendum_to__isnull', False), models.Q(('category', ''), _negated=True), _connector='OR'), name='reading_signed_has_a_category'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.UniqueConstraint(condition=models.Q(('signed_at__isnull', True)), fields=('reader', 'case', 'finding', 'addendum_to'), name='reading_one_draft', nulls_distinct=False),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.UniqueConstraint(condition=models.Q(('addendum_to__isnull', True), ('signed_at__isnull', False)), fields=('reader', 'case', 'finding'), name='reading_one_signed', nulls_distinct=False),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
