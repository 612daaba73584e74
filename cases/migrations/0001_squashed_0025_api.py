"""All tables as 0001 to 0025 leave them, made at once: what an empty database gets.

Those 25, one after the other, make Django work out the state of all models some 450 times. This one
takes their place where none of them was applied; a database at any of them goes on with them, so
they stay, and none of this changes any more than they do. tests/cases/test_squashed.py holds the
two ways against one another. What the 25 do to rows of before (0008, 0011, 0013, 0024) is left out:
there are none here. Why each trigger, index and storage parameter is there, the 25 say.
"""

import datetime
import django.contrib.auth.models
import django.contrib.auth.validators
import django.contrib.postgres.fields
import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.expressions
import django.db.models.functions.datetime
import django.db.models.functions.text
import django.utils.timezone
import uuid
from decimal import Decimal
from django.conf import settings
from django.db import migrations, models

# What the database itself refuses: every change, by bcweb_append_only (0002) ...
APPEND_ONLY = (
    "cases_auditevent",
    "cases_auditseal",
    "cases_casecircumstance",
    "cases_gateplan",
    "cases_gateverdict",
    "cases_jobevent",
    "cases_lockedsetuse",
    "cases_modelevent",
    "cases_modelfault",
    "cases_readerfirstevent",
    "cases_scheduleedit",
    "cases_servingevent",
    "cases_snapshotpatient",
    "cases_trainingorderer",
)
# ... or all but emptying the one column that an erasure may empty ("": none), by
# bcweb_only_erased (0005).
ONLY_ERASED = {
    "cases_candidateevent": "reason",
    "cases_findingoutcome": "reason",
    "cases_frozenpicture": "",
    "cases_identityclosing": "",
    "cases_identityopening": "reason",
    "cases_patientcorrection": "reason",
    "cases_patienterasure": "",
    "cases_patientpartition": "",
    "cases_reading": "text",
    "cases_resultwithdrawal": "reason",
}
GUARDS = {table: "bcweb_append_only()" for table in APPEND_ONLY} | {
    table: f"bcweb_only_erased('{column}')" for table, column in ONLY_ERASED.items()
}

GUARD = """
CREATE FUNCTION bcweb_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% is append-only: % refused', TG_TABLE_NAME, TG_OP
    USING ERRCODE = 'insufficient_privilege';
END
$$;
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
""" + "".join(
    f"""
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {table}
  FOR EACH ROW EXECUTE FUNCTION {guard};
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION bcweb_append_only();
-- Also where session_replication_role = replica switches ordinary triggers off.
ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER append_only_truncate;
"""
    for table, guard in GUARDS.items()
) + """
CREATE TRIGGER unchangeable BEFORE UPDATE ON cases_result
  FOR EACH ROW EXECUTE FUNCTION bcweb_only_erased('heatmap');
CREATE TRIGGER unchangeable BEFORE UPDATE ON cases_replay
  FOR EACH ROW EXECUTE FUNCTION bcweb_append_only();
CREATE TRIGGER unchangeable BEFORE UPDATE ON cases_shadowresult
  FOR EACH ROW EXECUTE FUNCTION bcweb_append_only();
ALTER TABLE cases_result ENABLE ALWAYS TRIGGER unchangeable;
ALTER TABLE cases_replay ENABLE ALWAYS TRIGGER unchangeable;
ALTER TABLE cases_shadowresult ENABLE ALWAYS TRIGGER unchangeable;
-- A request is decided once, and stays.
CREATE TRIGGER decided_once BEFORE UPDATE ON cases_promotionrequest
  FOR EACH ROW WHEN (OLD.decision <> '') EXECUTE FUNCTION bcweb_append_only();
CREATE TRIGGER never_deleted BEFORE DELETE ON cases_promotionrequest
  FOR EACH ROW EXECUTE FUNCTION bcweb_append_only();
ALTER TABLE cases_promotionrequest ENABLE ALWAYS TRIGGER decided_once;
ALTER TABLE cases_promotionrequest ENABLE ALWAYS TRIGGER never_deleted;
-- A frozen picture is on the side of its patient, and that side stands before it.
ALTER TABLE cases_patientpartition
  ADD CONSTRAINT partition_key_and_role UNIQUE (patient_key, role);
ALTER TABLE cases_frozenpicture
  ADD CONSTRAINT frozen_on_its_patients_side FOREIGN KEY (patient_key, role)
  REFERENCES cases_patientpartition (patient_key, role);
"""
# The triggers go with their functions.
UNGUARD = """
ALTER TABLE cases_frozenpicture DROP CONSTRAINT frozen_on_its_patients_side;
ALTER TABLE cases_patientpartition DROP CONSTRAINT partition_key_and_role;
DROP FUNCTION bcweb_only_erased() CASCADE;
DROP FUNCTION bcweb_is_erased(jsonb);
DROP FUNCTION bcweb_append_only() CASCADE;
"""

# Which cases changed (0024).
_NOTE = """
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
WORKLIST = "".join(_NOTE.format(name=name, select=sql) for name, sql in FUNCTIONS.items()) + "".join(
    _TRIGGER.format(
        event=event.lower(),
        EVENT=event,
        table=table,
        old="OLD TABLE AS gone" if event == "UPDATE" else "",
        function=function,
    )
    for table, event, function in TRIGGERS
)
UNWORKLIST = "".join(f"DROP FUNCTION bcweb_worklist_{name}() CASCADE;" for name in FUNCTIONS)

# Rows that are soon changed or gone: tidied early (0018, 0024).
TIDY = """
ALTER TABLE cases_job SET (autovacuum_vacuum_scale_factor = 0.01,
                           autovacuum_vacuum_threshold = 500,
                           autovacuum_analyze_scale_factor = 0.02);
ALTER TABLE cases_worklistchange SET (autovacuum_vacuum_scale_factor = 0,
                                      autovacuum_vacuum_threshold = 1000);
"""

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


class CreateModels(migrations.SeparateDatabaseAndState):
    """Many models at once.

    Django works out the state of all related models anew for each model that is made. Here this is
    done once, with all of them there, so they may also name one another in circles: no table
    refers to another before all are made.
    """

    def __init__(self, models):
        super().__init__(database_operations=models, state_operations=models)

    def state_forwards(self, app_label, state):
        # Django works it out again where it is asked for, here for the first table.
        state.__dict__.pop('apps', None)
        super().state_forwards(app_label, state)

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        for operation in self.database_operations:
            operation.database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        for operation in reversed(self.database_operations):
            operation.database_backwards(app_label, schema_editor, from_state, to_state)

    def describe(self):
        return 'Create all models'


class Migration(migrations.Migration):

    replaces = [
        ('cases', '0001_initial'),
        ('cases', '0002_audit_append_only'),
        ('cases', '0003_replay'),
        ('cases', '0004_promotion'),
        ('cases', '0005_review'),
        ('cases', '0006_training'),
        ('cases', '0007_gate'),
        ('cases', '0008_separation'),
        ('cases', '0009_watch'),
        ('cases', '0010_curation'),
        ('cases', '0011_snapshot_site'),
        ('cases', '0012_keys'),
        ('cases', '0013_bytes'),
        ('cases', '0014_hooks'),
        ('cases', '0015_life'),
        ('cases', '0016_ops'),
        ('cases', '0017_seal'),
        ('cases', '0018_speed'),
        ('cases', '0019_hooks_busy'),
        ('cases', '0020_account'),
        ('cases', '0021_reading'),
        ('cases', '0022_viewer'),
        ('cases', '0023_admin'),
        ('cases', '0024_worklist'),
        ('cases', '0025_api'),
    ]

    initial = True

    dependencies = [
        ('auth', '0012_alter_user_first_name_max_length'),
        ('django_celery_beat', '0019_alter_periodictasks_options'),
    ]

    operations = [
        CreateModels([
            migrations.CreateModel(
                name='Site',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('code', models.SlugField(max_length=32, unique=True)),
                    ('name', models.CharField(max_length=120)),
                    ('patient_issuer', models.CharField(max_length=64)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
            ),
            migrations.CreateModel(
                name='User',
                fields=[
                    ('password', models.CharField(max_length=128, verbose_name='password')),
                    ('last_login', models.DateTimeField(blank=True, null=True, verbose_name='last login')),
                    ('is_superuser', models.BooleanField(default=False, help_text='Designates that this user has all permissions without explicitly assigning them.', verbose_name='superuser status')),
                    ('username', models.CharField(error_messages={'unique': 'A user with that username already exists.'}, help_text='Required. 150 characters or fewer. Letters, digits and @/./+/-/_ only.', max_length=150, unique=True, validators=[django.contrib.auth.validators.UnicodeUsernameValidator()], verbose_name='username')),
                    ('first_name', models.CharField(blank=True, max_length=150, verbose_name='first name')),
                    ('last_name', models.CharField(blank=True, max_length=150, verbose_name='last name')),
                    ('email', models.EmailField(blank=True, max_length=254, verbose_name='email address')),
                    ('is_staff', models.BooleanField(default=False, help_text='Designates whether the user can log into this admin site.', verbose_name='staff status')),
                    ('is_active', models.BooleanField(default=True, help_text='Designates whether this user should be treated as active. Unselect this instead of deleting accounts.', verbose_name='active')),
                    ('date_joined', models.DateTimeField(default=django.utils.timezone.now, verbose_name='date joined')),
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('site', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='users', to='cases.site')),
                    ('is_demo', models.BooleanField(default=False)),
                    ('groups', models.ManyToManyField(blank=True, help_text='The groups this user belongs to. A user will get all permissions granted to each of their groups.', related_name='user_set', related_query_name='user', to='auth.group', verbose_name='groups')),
                    ('user_permissions', models.ManyToManyField(blank=True, help_text='Specific permissions for this user.', related_name='user_set', related_query_name='user', to='auth.permission', verbose_name='user permissions')),
                ],
                options={
                    'verbose_name': 'user',
                    'verbose_name_plural': 'users',
                    'abstract': False,
                },
                managers=[
                    ('objects', django.contrib.auth.models.UserManager()),
                ],
            ),
            migrations.CreateModel(
                name='ApiToken',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='tokens', to=settings.AUTH_USER_MODEL)),
                    ('name', models.CharField(max_length=80)),
                    ('token_hash', models.CharField(max_length=64, unique=True)),
                    ('prefix', models.CharField(max_length=12)),
                    ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=20), size=None)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('expires_at', models.DateTimeField()),
                    ('last_used_at', models.DateTimeField(null=True)),
                    ('revoked_at', models.DateTimeField(null=True)),
                ],
                options={
                    'constraints': [models.CheckConstraint(condition=models.Q(('scopes__contained_by', ['submit', 'read', 'outcomes', 'admin']), ('scopes__len__gt', 0)), name='apitoken_scopes_known')],
                },
            ),
            migrations.CreateModel(
                name='AuditEvent',
                fields=[
                    ('id', models.BigAutoField(primary_key=True, serialize=False)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('actor_kind', models.CharField(max_length=12)),
                    ('actor_label', models.CharField(max_length=160)),
                    ('user_id', models.UUIDField(null=True)),
                    ('token_id', models.UUIDField(null=True)),
                    ('action', models.CharField(max_length=60)),
                    ('object_type', models.CharField(max_length=30)),
                    ('object_id', models.CharField(blank=True, max_length=64)),
                    ('site_id', models.UUIDField(null=True)),
                    ('case_id', models.UUIDField(null=True)),
                    ('request_id', models.CharField(blank=True, max_length=64)),
                    ('changed_fields', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=60), default=list, size=None)),
                    ('detail', models.JSONField(default=dict)),
                ],
                options={
                    'ordering': ['-id'],
                    'indexes': [models.Index(fields=['case_id', '-id'], name='audit_of_case'), models.Index(fields=['site_id', '-id'], name='audit_of_site'), models.Index(fields=['object_id'], name='audit_of_object'), models.Index(fields=['action', '-id'], name='audit_of_action'), models.Index(condition=models.Q(('user_id__isnull', False)), fields=['user_id', '-id'], name='audit_of_user'), models.Index(condition=models.Q(('user_id__isnull', True)), fields=['actor_label', '-id'], name='audit_of_machine'), django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['at'], name='audit_at', pages_per_range=32)],
                },
            ),
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
                    'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('number', 1), ('previous', '')), models.Q(('number__gt', 1), models.Q(('previous', ''), _negated=True)), _connector='OR'), name='auditseal_only_the_first_follows_none'), models.CheckConstraint(condition=models.Q(('after_id__lt', models.F('first_id')), ('first_id__lte', models.F('last_id')), ('last_id__lte', models.F('horizon_id'))), name='auditseal_is_a_run_of_ids'), models.CheckConstraint(condition=models.Q(('count__gte', 1), ('count', django.db.models.expressions.CombinedExpression(models.Func(models.F('entries'), function='octet_length', output_field=models.IntegerField()), '/', models.Value(40)))), name='auditseal_lists_each_event')],
                },
            ),
            migrations.CreateModel(
                name='Blob',
                fields=[
                    ('name', models.CharField(max_length=128, primary_key=True, serialize=False)),
                    ('size', models.PositiveBigIntegerField()),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
            ),
            migrations.CreateModel(
                name='BlobChunk',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('blob', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='chunks', to='cases.blob')),
                    ('index', models.PositiveIntegerField()),
                    ('data', models.BinaryField()),
                ],
                options={
                    'ordering': ['index'],
                    'constraints': [models.UniqueConstraint(fields=('blob', 'index'), name='blobchunk_once')],
                },
            ),
            migrations.CreateModel(
                name='Patient',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('site', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='patients', to='cases.site')),
                    ('patient_id', models.CharField(max_length=64)),
                    ('issuer', models.CharField(max_length=64)),
                    ('name', models.CharField(blank=True, max_length=324)),
                    ('birth_date', models.DateField(blank=True, null=True)),
                    ('sex', models.CharField(blank=True, choices=[('M', 'MALE'), ('F', 'FEMALE'), ('O', 'OTHER')], max_length=1)),
                    ('research_opt_out', models.BooleanField(db_default=False, default=False)),
                    ('erased_at', models.DateTimeField(blank=True, null=True)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'indexes': [models.Index(fields=['site', 'patient_id'], name='patient_by_id'), models.Index(models.F('site'), django.contrib.postgres.indexes.OpClass(django.db.models.functions.text.Upper('name'), name='text_pattern_ops'), name='patient_by_name')],
                    'constraints': [models.UniqueConstraint(condition=models.Q(('erased_at__isnull', True)), fields=('site', 'issuer', 'patient_id'), name='patient_identity'), models.CheckConstraint(condition=models.Q(models.Q(('erased_at__isnull', True), models.Q(('patient_id', ''), _negated=True), models.Q(('issuer', ''), _negated=True)), models.Q(('birth_date__isnull', True), ('erased_at__isnull', False), ('issuer', ''), ('name', ''), ('patient_id', ''), ('sex', '')), _connector='OR'), name='patient_identity_given_until_erased')],
                },
            ),
            migrations.CreateModel(
                name='Case',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('site', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='cases', to='cases.site')),
                    ('patient', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='cases', to='cases.patient')),
                    ('accession_number', models.CharField(blank=True, max_length=16)),
                    ('accession_issuer', models.CharField(blank=True, max_length=64)),
                    ('study_instance_uid', models.CharField(blank=True, max_length=64)),
                    ('indication', models.CharField(blank=True, choices=[('symptomatic', 'SYMPTOMATIC'), ('recall', 'RECALL'), ('follow_up', 'FOLLOW_UP'), ('supplemental', 'SUPPLEMENTAL'), ('staging', 'STAGING'), ('post_treatment', 'POST_TREATMENT')], max_length=20)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'indexes': [models.Index(fields=['site', '-created_at', '-id'], name='case_worklist')],
                    'constraints': [models.UniqueConstraint(condition=models.Q(('accession_number', ''), _negated=True), fields=('site', 'accession_issuer', 'accession_number'), name='case_accession'), models.UniqueConstraint(condition=models.Q(('study_instance_uid', ''), _negated=True), fields=('site', 'study_instance_uid'), name='case_study')],
                },
            ),
            migrations.CreateModel(
                name='Submission',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('site', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='submissions', to='cases.site')),
                    ('case', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='submissions', to='cases.case')),
                    ('user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('token', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='cases.apitoken')),
                    ('idempotency_owner', models.UUIDField(null=True)),
                    ('idempotency_key', models.CharField(blank=True, max_length=200)),
                    ('fingerprint', models.CharField(max_length=64)),
                    ('skipped', models.JSONField(default=list)),
                    ('override_reason', models.CharField(blank=True, max_length=500)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'indexes': [models.Index(condition=models.Q(('idempotency_key', ''), _negated=True), fields=['idempotency_owner', 'idempotency_key', '-created_at'], name='submission_idempotency'), models.Index(fields=['site', '-created_at', '-id'], name='submission_of_site')],
                },
            ),
            migrations.CreateModel(
                name='Finding',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('case', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='findings', to='cases.case')),
                    ('number', models.PositiveSmallIntegerField()),
                    ('laterality', models.CharField(choices=[('L', 'LEFT'), ('R', 'RIGHT'), ('B', 'BOTH'), ('unknown', 'UNKNOWN')], default='unknown', max_length=7)),
                    ('clock_position', models.PositiveSmallIntegerField(blank=True, null=True)),
                    ('quadrant', models.CharField(blank=True, choices=[('upper_outer', 'UPPER_OUTER'), ('upper_inner', 'UPPER_INNER'), ('lower_outer', 'LOWER_OUTER'), ('lower_inner', 'LOWER_INNER'), ('central', 'CENTRAL'), ('axillary_tail', 'AXILLARY_TAIL')], max_length=20)),
                    ('nipple_distance_mm', models.DecimalField(blank=True, decimal_places=1, max_digits=5, null=True)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['number'],
                    'constraints': [models.UniqueConstraint(fields=('case', 'number'), name='finding_number'), models.CheckConstraint(condition=models.Q(('laterality__in', ['L', 'R', 'B', 'unknown'])), name='finding_laterality_known'), models.CheckConstraint(condition=models.Q(('clock_position__isnull', True), ('clock_position__range', (1, 12)), _connector='OR'), name='finding_clock_1_to_12')],
                },
            ),
            migrations.CreateModel(
                name='Image',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('case', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='images', to='cases.case')),
                    ('submission', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='images', to='cases.submission')),
                    ('finding', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='images', to='cases.finding')),
                    ('position', models.PositiveSmallIntegerField(default=0)),
                    ('file_name', models.CharField(max_length=255)),
                    ('sha256', models.CharField(max_length=64)),
                    ('size', models.PositiveBigIntegerField()),
                    ('storage_name', models.CharField(max_length=128)),
                    ('format', models.CharField(max_length=16)),
                    ('media_type', models.CharField(max_length=64)),
                    ('width', models.PositiveIntegerField()),
                    ('height', models.PositiveIntegerField()),
                    ('frames', models.PositiveIntegerField(default=1)),
                    ('frame', models.PositiveIntegerField(default=0)),
                    ('laterality', models.CharField(choices=[('L', 'LEFT'), ('R', 'RIGHT'), ('B', 'BOTH'), ('unknown', 'UNKNOWN')], default='unknown', max_length=7)),
                    ('study_instance_uid', models.CharField(blank=True, max_length=64)),
                    ('series_instance_uid', models.CharField(blank=True, max_length=64)),
                    ('sop_instance_uid', models.CharField(blank=True, max_length=64)),
                    ('manufacturer', models.CharField(blank=True, max_length=64)),
                    ('manufacturer_model', models.CharField(blank=True, max_length=64)),
                    ('spacing_row_mm', models.FloatField(null=True)),
                    ('spacing_col_mm', models.FloatField(null=True)),
                    ('header_overruled', models.BooleanField(default=False)),
                    ('facts', models.JSONField(default=dict)),
                    ('phash', models.BigIntegerField(null=True)),
                    ('duplicate_of', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='duplicates', to='cases.image')),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['created_at', 'position', 'id'],
                    'indexes': [models.Index(fields=['sha256'], name='image_sha256'), models.Index(fields=['storage_name'], name='image_storage_name'), models.Index(fields=['case', 'created_at', 'position'], name='image_of_case')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('laterality__in', ['L', 'R', 'B', 'unknown'])), name='image_laterality_known'), models.CheckConstraint(condition=models.Q(('frame__lt', models.F('frames'))), name='image_frame_in_range')],
                },
            ),
            migrations.CreateModel(
                name='FindingOutcome',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('case', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='outcomes', to='cases.case')),
                    ('finding', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='outcomes', to='cases.finding')),
                    ('pathology', models.CharField(choices=[('invasive', 'invasive'), ('in_situ', 'in_situ'), ('high_risk', 'high_risk'), ('benign', 'benign'), ('insufficient', 'insufficient')], max_length=12)),
                    ('basis', models.CharField(choices=[('histology', 'histology'), ('follow_up', 'follow_up'), ('reader_only', 'reader_only')], max_length=12)),
                    ('stable_from', models.DateField(blank=True, null=True)),
                    ('stable_until', models.DateField(blank=True, null=True)),
                    ('supersedes', models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='superseded_by', to='cases.findingoutcome')),
                    ('reason', models.CharField(blank=True, max_length=500)),
                    ('recorded_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('recorded_by_label', models.CharField(max_length=160)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['created_at', 'id'],
                    'indexes': [models.Index(fields=['finding', '-created_at'], name='outcome_of_finding')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('pathology__in', ['invasive', 'in_situ', 'high_risk', 'benign', 'insufficient'])), name='outcome_pathology_known'), models.CheckConstraint(condition=models.Q(('basis__in', ['histology', 'follow_up', 'reader_only'])), name='outcome_basis_known'), models.CheckConstraint(condition=models.Q(models.Q(('basis', 'follow_up'), ('pathology', 'benign'), ('stable_from__isnull', False), ('stable_until__isnull', False), ('stable_until__gte', django.db.models.expressions.CombinedExpression(models.F('stable_from'), '+', models.Value(datetime.timedelta(days=730))))), models.Q(models.Q(('basis', 'follow_up'), _negated=True), ('stable_from__isnull', True), ('stable_until__isnull', True)), _connector='OR'), name='outcome_follow_up_is_stable'), models.UniqueConstraint(condition=models.Q(('supersedes__isnull', True)), fields=('finding',), name='outcome_one_first')],
                },
            ),
            migrations.CreateModel(
                name='TrainingCandidate',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('image', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='candidate', to='cases.image')),
                    ('state', models.CharField(choices=[('PENDING', 'PENDING'), ('ACCEPTED', 'ACCEPTED'), ('REJECTED', 'REJECTED'), ('LAPSED', 'LAPSED')], default='PENDING', max_length=16)),
                    ('conflict', models.CharField(blank=True, choices=[('findings', 'findings'), ('side', 'side')], max_length=12)),
                    ('label', models.CharField(blank=True, choices=[('benign', 'benign'), ('malignant', 'malignant')], max_length=12)),
                    ('basis', models.CharField(blank=True, choices=[('histology', 'histology'), ('follow_up', 'follow_up'), ('reader_only', 'reader_only')], max_length=12)),
                    ('outcome', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='candidates', to='cases.findingoutcome')),
                    ('rests_on', models.JSONField(default=list)),
                    ('box', models.JSONField(null=True)),
                    ('identity_checked', models.BooleanField(default=False)),
                    ('decided_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('decided_at', models.DateTimeField(null=True)),
                    ('reason', models.CharField(blank=True, max_length=500)),
                    ('version', models.PositiveIntegerField(default=1)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-created_at', '-id'],
                    'indexes': [models.Index(fields=['state', '-created_at', '-id'], name='candidate_list')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['PENDING', 'ACCEPTED', 'REJECTED', 'LAPSED'])), name='candidate_state_known'), models.CheckConstraint(condition=models.Q(('conflict', ''), ('conflict__in', ['findings', 'side']), _connector='OR'), name='candidate_conflict_known'), models.CheckConstraint(condition=models.Q(models.Q(('label__in', ['benign', 'malignant']), ('basis__in', ['histology', 'follow_up', 'reader_only']), ('outcome__isnull', False)), models.Q(('basis', ''), ('label', ''), ('outcome__isnull', True)), _connector='OR'), name='candidate_label_has_its_outcome'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'LAPSED'), ('decided_at__isnull', True), ('decided_by__isnull', True), ('identity_checked', False), ('reason', ''), ('box__isnull', True), ('basis', ''), ('label', ''), ('outcome__isnull', True)), models.Q(('state', 'PENDING'), ('decided_at__isnull', True), ('decided_by__isnull', True), ('identity_checked', False), ('reason', ''), ('box__isnull', True)), models.Q(('box__isnull', True), ('identity_checked', False), ('state', 'REJECTED'), ('decided_at__isnull', False), ('decided_by__isnull', False), models.Q(('reason', ''), _negated=True)), models.Q(('box__isnull', False), ('identity_checked', True), ('state', 'ACCEPTED'), ('decided_at__isnull', False), ('decided_by__isnull', False), models.Q(('reason', ''), _negated=True), ('label__in', ['benign', 'malignant']), ('basis__in', ['histology', 'follow_up', 'reader_only']), ('outcome__isnull', False)), _connector='OR'), name='candidate_accepted_by_somebody_who_looked'), models.CheckConstraint(condition=models.Q(models.Q(('state', 'PENDING'), _negated=True), models.Q(('conflict', ''), ('label__in', ['benign', 'malignant']), ('basis__in', ['histology', 'follow_up', 'reader_only']), ('outcome__isnull', False)), models.Q(models.Q(('conflict', ''), _negated=True), ('basis', ''), ('label', ''), ('outcome__isnull', True)), _connector='OR'), name='candidate_conflict_has_no_label')],
                },
            ),
            migrations.CreateModel(
                name='CandidateEvent',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('candidate', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='events', to='cases.trainingcandidate')),
                    ('case', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.case')),
                    ('from_state', models.CharField(blank=True, max_length=16)),
                    ('to_state', models.CharField(max_length=16)),
                    ('label', models.CharField(blank=True, max_length=12)),
                    ('reason', models.CharField(blank=True, max_length=500)),
                    ('actor', models.CharField(max_length=160)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['id'],
                },
            ),
            migrations.CreateModel(
                name='CaseCircumstance',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('case', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='circumstances', to='cases.case')),
                    ('kind', models.CharField(choices=[('implant', 'implant'), ('lactating', 'lactating'), ('treated', 'treated')], max_length=12)),
                    ('applies', models.BooleanField()),
                    ('stated_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('stated_by_label', models.CharField(max_length=160)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['id'],
                    'indexes': [models.Index(fields=['case', 'kind', '-id'], name='circumstance_of_case')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('kind__in', ['implant', 'lactating', 'treated'])), name='circumstance_kind_known')],
                },
            ),
            migrations.CreateModel(
                name='Frame',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('image', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='frame_rows', to='cases.image')),
                    ('index', models.PositiveIntegerField()),
                    ('storage_name', models.CharField(max_length=128)),
                    ('sha256', models.CharField(max_length=64)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'indexes': [models.Index(fields=['storage_name'], name='frame_storage_name')],
                    'constraints': [models.UniqueConstraint(fields=('image', 'index'), name='frame_once')],
                },
            ),
            migrations.CreateModel(
                name='ModelVersion',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('version', models.CharField(max_length=80, unique=True)),
                    ('sha256', models.CharField(max_length=64, unique=True)),
                    ('size', models.PositiveBigIntegerField()),
                    ('storage_name', models.CharField(max_length=128)),
                    ('card', models.JSONField()),
                    ('state', models.CharField(choices=[('CANDIDATE', 'CANDIDATE'), ('SHADOW', 'SHADOW'), ('ACTIVE', 'ACTIVE'), ('RETIRED', 'RETIRED'), ('REJECTED', 'REJECTED')], default='CANDIDATE', max_length=16)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-created_at'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['CANDIDATE', 'SHADOW', 'ACTIVE', 'RETIRED', 'REJECTED'])), name='modelversion_state_known'), models.UniqueConstraint(condition=models.Q(('state', 'ACTIVE')), fields=('state',), name='modelversion_one_active'), models.UniqueConstraint(condition=models.Q(('state', 'SHADOW')), fields=('state',), name='modelversion_one_shadow')],
                },
            ),
            migrations.CreateModel(
                name='Result',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('job', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='result', to='cases.job')),
                    ('image', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='results', to='cases.image')),
                    ('frame', models.PositiveIntegerField()),
                    ('model_version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='results', to='cases.modelversion')),
                    ('attempt', models.PositiveSmallIntegerField()),
                    ('outcome', models.CharField(choices=[('answered', 'answered'), ('abstained', 'abstained'), ('refused', 'refused')], max_length=12)),
                    ('reason', models.CharField(blank=True, max_length=300)),
                    ('reason_code', models.CharField(blank=True, db_default='', max_length=40)),
                    ('label', models.CharField(blank=True, choices=[('benign', 'benign'), ('malignant', 'malignant'), ('normal', 'normal')], max_length=12)),
                    ('score_benign', models.FloatField(null=True)),
                    ('score_malignant', models.FloatField(null=True)),
                    ('score_normal', models.FloatField(null=True)),
                    ('threshold', models.FloatField()),
                    ('sensitivity', models.FloatField()),
                    ('temperature', models.FloatField(null=True)),
                    ('minimum_score', models.FloatField(null=True)),
                    ('transform', models.JSONField(null=True)),
                    ('feature_distance', models.FloatField(null=True)),
                    ('heatmap', models.BinaryField(null=True)),
                    ('heatmap_rows', models.PositiveSmallIntegerField(default=0)),
                    ('heatmap_columns', models.PositiveSmallIntegerField(default=0)),
                    ('heatmap_box', models.JSONField(null=True)),
                    ('engine', models.CharField(max_length=80)),
                    ('preprocessing', models.CharField(max_length=80)),
                    ('duration_ms', models.FloatField()),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'indexes': [models.Index(fields=['image', '-created_at'], name='result_of_image'), models.Index(fields=['model_version', 'created_at', 'id'], name='result_of_model'), models.Index(condition=models.Q(models.Q(('outcome', 'refused'), _negated=True), ('feature_distance__isnull', False)), fields=['model_version', 'created_at', 'id'], name='result_with_distance')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('outcome__in', ['answered', 'abstained', 'refused'])), name='result_outcome_known'), models.CheckConstraint(condition=models.Q(models.Q(('label', ''), ('outcome', 'refused')), models.Q(models.Q(('outcome', 'refused'), _negated=True), ('label__in', ['benign', 'malignant', 'normal'])), _connector='OR'), name='result_label_unless_refused'), models.CheckConstraint(condition=models.Q(models.Q(('heatmap__isnull', True), ('outcome', 'refused'), ('score_benign__isnull', True), ('score_malignant__isnull', True), ('score_normal__isnull', True), models.Q(('reason', ''), _negated=True)), models.Q(models.Q(('outcome', 'refused'), _negated=True), ('score_benign__isnull', False), ('score_benign__range', (0, 1)), ('score_malignant__isnull', False), ('score_malignant__range', (0, 1)), ('score_normal__isnull', False), ('score_normal__range', (0, 1))), _connector='OR'), name='result_scores_unless_refused'), models.CheckConstraint(condition=models.Q(('feature_distance__isnull', True), ('feature_distance__gte', 0), _connector='OR'), name='result_distance_not_below_zero')],
                },
            ),
            migrations.CreateModel(
                name='Job',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('kind', models.CharField(choices=[('inference', 'inference'), ('training', 'training'), ('replay', 'replay'), ('shadow', 'shadow'), ('freeze', 'freeze')], max_length=16)),
                    ('state', models.CharField(choices=[('PENDING', 'PENDING'), ('RUNNING', 'RUNNING'), ('SUCCEEDED', 'SUCCEEDED'), ('FAILED', 'FAILED'), ('CANCELLED', 'CANCELLED')], default='PENDING', max_length=16)),
                    ('site', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='jobs', to='cases.site')),
                    ('submission', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='jobs', to='cases.submission')),
                    ('image', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='jobs', to='cases.image')),
                    ('frame', models.PositiveIntegerField(null=True)),
                    ('model_version', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='jobs', to='cases.modelversion')),
                    ('rerun_of', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='reruns', to='cases.job')),
                    ('replay_of', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='replay_jobs', to='cases.result')),
                    ('shadow_of', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='shadow_jobs', to='cases.result')),
                    ('model_line', models.CharField(max_length=40, null=True)),
                    ('priority', models.PositiveSmallIntegerField(choices=[(0, 'stat'), (1, 'urgent'), (2, 'routine')], default=2)),
                    ('due_at', models.DateTimeField()),
                    ('available_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('attempt', models.PositiveSmallIntegerField(default=0)),
                    ('max_attempts', models.PositiveSmallIntegerField(default=3)),
                    ('lease_expires_at', models.DateTimeField(null=True)),
                    ('worker', models.CharField(blank=True, max_length=120)),
                    ('progress', models.JSONField(null=True)),
                    ('error_code', models.CharField(blank=True, max_length=40)),
                    ('error_detail', models.CharField(blank=True, max_length=500)),
                    ('request_id', models.CharField(blank=True, max_length=64)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('started_at', models.DateTimeField(null=True)),
                    ('finished_at', models.DateTimeField(null=True)),
                ],
                options={
                    'indexes': [models.Index(condition=models.Q(('state', 'PENDING')), fields=['kind', 'due_at', 'id'], name='job_queue'), models.Index(condition=models.Q(('state', 'RUNNING')), fields=['lease_expires_at'], name='job_leases'), models.Index(fields=['image', '-created_at'], name='job_of_image'), models.Index(condition=models.Q(('kind', 'inference'), ('state', 'FAILED')), fields=['site', '-finished_at', '-id'], name='job_failed'), models.Index(fields=['site', '-created_at', '-id'], name='job_of_site'), models.Index(condition=models.Q(('kind', 'inference'), _negated=True), fields=['site', 'kind', '-created_at', '-id'], name='job_of_site_by_kind'), models.Index(condition=models.Q(('state__in', ['FAILED', 'CANCELLED'])), fields=['site', 'state', '-created_at', '-id'], name='job_of_site_unanswered')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['PENDING', 'RUNNING', 'SUCCEEDED', 'FAILED', 'CANCELLED'])), name='job_state_known'), models.CheckConstraint(condition=models.Q(('kind__in', ['inference', 'training', 'replay', 'shadow', 'freeze'])), name='job_kind_known'), models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', False), ('state__in', ['CANCELLED', 'FAILED', 'SUCCEEDED'])), models.Q(models.Q(('state__in', ['CANCELLED', 'FAILED', 'SUCCEEDED']), _negated=True), ('finished_at__isnull', True)), _connector='OR'), name='job_finished_at_exactly_when_final'), models.CheckConstraint(condition=models.Q(models.Q(('lease_expires_at__isnull', False), ('state', 'RUNNING')), models.Q(models.Q(('state', 'RUNNING'), _negated=True), ('lease_expires_at__isnull', True)), _connector='OR'), name='job_lease_exactly_when_running'), models.CheckConstraint(condition=models.Q(('attempt__lte', models.F('max_attempts'))), name='job_attempts_bounded'), models.CheckConstraint(condition=models.Q(models.Q(('kind', 'inference'), _negated=True), models.Q(('frame__isnull', False), ('image__isnull', False), ('model_version__isnull', False)), _connector='OR'), name='job_inference_names_its_image'), models.CheckConstraint(condition=models.Q(models.Q(('kind', 'replay'), _negated=True), models.Q(('frame__isnull', False), ('image__isnull', True), ('model_version__isnull', False), ('replay_of__isnull', False)), _connector='OR'), name='job_replay_names_its_result'), models.CheckConstraint(condition=models.Q(models.Q(('kind', 'shadow'), _negated=True), models.Q(('frame__isnull', False), ('image__isnull', True), ('model_version__isnull', False), ('shadow_of__isnull', False)), _connector='OR'), name='job_shadow_names_its_result'), models.UniqueConstraint(fields=('shadow_of', 'model_version'), name='job_shadow_once'), models.CheckConstraint(condition=models.Q(models.Q(('kind', 'training'), ('model_line__isnull', False)), models.Q(models.Q(('kind', 'training'), _negated=True), ('model_line__isnull', True)), _connector='OR'), name='job_training_names_its_line'), models.UniqueConstraint(condition=models.Q(('state', 'RUNNING')), fields=('model_line',), name='job_one_training_at_a_time'), models.UniqueConstraint(condition=models.Q(('state__in', ['PENDING', 'RUNNING'])), fields=('replay_of',), name='job_one_active_replay'), models.UniqueConstraint(condition=models.Q(('state__in', ['PENDING', 'RUNNING'])), fields=('image', 'frame', 'model_version', 'kind'), name='job_one_active')],
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
                    ('document_sha256', models.CharField(blank=True, db_default='', default='', max_length=64)),
                    ('role', models.CharField(blank=True, choices=[('training', 'training'), ('locked', 'locked')], db_default='', default='', max_length=12)),
                    ('site', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.site')),
                    ('created_by', models.CharField(max_length=160)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-created_at', '-id'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('role', ''), ('role__in', ['training', 'locked']), _connector='OR'), name='trainingsnapshot_role_known')],
                },
            ),
            migrations.CreateModel(
                name='SnapshotFreeze',
                fields=[
                    ('job', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='freeze', serialize=False, to='cases.job')),
                    ('role', models.CharField(choices=[('training', 'training'), ('locked', 'locked')], max_length=12)),
                    ('name', models.CharField(max_length=80)),
                    ('share', models.PositiveSmallIntegerField(default=0)),
                    ('reason', models.CharField(max_length=500)),
                    ('requested_by', models.CharField(max_length=160)),
                    ('requested_by_user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('snapshot', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='freezes', to='cases.trainingsnapshot')),
                    ('left_out', models.JSONField(default=dict)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-created_at'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('role__in', ['training', 'locked'])), name='freeze_role_known'), models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='freeze_has_a_name'), models.CheckConstraint(condition=models.Q(models.Q(('role', 'locked'), ('share__range', (0, 100))), models.Q(('role', 'training'), ('share', 0)), _connector='OR'), name='freeze_share_of_a_locked_set')],
                },
            ),
            migrations.CreateModel(
                name='FrozenPicture',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('freeze', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='pictures', to='cases.snapshotfreeze')),
                    ('candidate', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='frozen', to='cases.trainingcandidate')),
                    ('outcome', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.findingoutcome')),
                    ('patient_key', models.CharField(max_length=80)),
                    ('role', models.CharField(choices=[('training', 'training'), ('locked', 'locked')], max_length=12)),
                    ('label', models.CharField(choices=[('benign', 'benign'), ('malignant', 'malignant'), ('normal', 'normal')], max_length=12)),
                    ('basis', models.CharField(choices=[('histology', 'histology'), ('follow_up', 'follow_up'), ('reader_only', 'reader_only')], max_length=12)),
                    ('sha256', models.CharField(max_length=64)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['id'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('role__in', ['training', 'locked'])), name='frozen_role_known'), models.UniqueConstraint(fields=('freeze', 'candidate'), name='frozen_once'), models.CheckConstraint(condition=models.Q(('basis', 'reader_only'), ('role', 'locked'), _negated=True), name='frozen_locked_not_by_a_reader_alone')],
                },
            ),
            migrations.CreateModel(
                name='GatePlan',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('site', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.site')),
                    ('name', models.CharField(max_length=80)),
                    ('locked_set', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='gate_plans', to='cases.trainingsnapshot')),
                    ('document', models.JSONField()),
                    ('sha256', models.CharField(max_length=64)),
                    ('malignant_patients', models.PositiveIntegerField()),
                    ('created_by', models.CharField(max_length=160)),
                    ('created_by_user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-created_at', '-id'],
                    'constraints': [models.UniqueConstraint(fields=('site', 'name'), name='gateplan_name_once'), models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='gateplan_has_a_name'), models.CheckConstraint(condition=models.Q(('sha256__regex', '^[0-9a-f]{64}$')), name='gateplan_named_by_its_hash')],
                },
            ),
            migrations.CreateModel(
                name='GateVerdict',
                fields=[
                    ('model_version', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='gate', serialize=False, to='cases.modelversion')),
                    ('state', models.CharField(choices=[('passed', 'passed'), ('failed', 'failed'), ('insufficient_evidence', 'insufficient_evidence')], max_length=24)),
                    ('limits', models.JSONField(default=list)),
                    ('plan_sha256', models.CharField(max_length=64)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['passed', 'failed', 'insufficient_evidence'])), name='gateverdict_state_known'), models.CheckConstraint(condition=models.Q(('plan_sha256__regex', '^[0-9a-f]{64}$')), name='gateverdict_names_its_plan')],
                },
            ),
            migrations.CreateModel(
                name='IdentityOpening',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('case', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='openings', to='cases.case')),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('session', models.CharField(max_length=64)),
                    ('reason', models.CharField(blank=True, max_length=500)),
                    ('opened_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('expires_at', models.DateTimeField()),
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
            migrations.CreateModel(
                name='JobEvent',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('job', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='events', to='cases.job')),
                    ('from_state', models.CharField(blank=True, max_length=16)),
                    ('to_state', models.CharField(max_length=16)),
                    ('attempt', models.PositiveSmallIntegerField()),
                    ('actor', models.CharField(max_length=160)),
                    ('reason', models.CharField(blank=True, max_length=500)),
                    ('request_id', models.CharField(blank=True, max_length=64)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['id'],
                    'indexes': [models.Index(fields=['job', 'id'], name='jobevent_of_job'), django.contrib.postgres.indexes.BrinIndex(autosummarize=True, fields=['at'], name='jobevent_at')],
                },
            ),
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
            migrations.CreateModel(
                name='TrainingSchedule',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('site', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.site')),
                    ('name', models.CharField(max_length=80)),
                    ('task', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='django_celery_beat.periodictask')),
                    ('recipe', models.CharField(choices=[('bcweb', 'bcweb'), ('paper', 'paper')], max_length=16)),
                    ('init', models.CharField(max_length=120)),
                    ('seed', models.PositiveIntegerField(default=0)),
                    ('epochs', models.PositiveSmallIntegerField(null=True)),
                    ('size', models.PositiveSmallIntegerField(null=True)),
                    ('limit_images', models.PositiveIntegerField(null=True)),
                    ('plan', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.gateplan')),
                    ('lineage', models.CharField(choices=[('any', 'any'), ('frozen', 'frozen'), ('imported', 'imported')], db_default='any', default='any', max_length=12)),
                    ('lineage_name', models.CharField(blank=True, db_default='', default='', max_length=200)),
                    ('min_new_images', models.PositiveIntegerField(default=0)),
                    ('window_start', models.TimeField(null=True)),
                    ('window_end', models.TimeField(null=True)),
                    ('created_by', models.CharField(max_length=160)),
                    ('created_by_user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['name', 'id'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('recipe__in', ['bcweb', 'paper'])), name='trainingschedule_recipe_known'), models.CheckConstraint(condition=models.Q(('lineage__in', ['any', 'frozen', 'imported'])), name='trainingschedule_lineage_known'), models.CheckConstraint(condition=models.Q(models.Q(('lineage', 'imported'), models.Q(('lineage_name', ''), _negated=True)), models.Q(models.Q(('lineage', 'imported'), _negated=True), ('lineage_name', '')), _connector='OR'), name='trainingschedule_folder_named'), models.UniqueConstraint(fields=('site', 'name'), name='trainingschedule_name_once'), models.CheckConstraint(condition=models.Q(models.Q(('window_end__isnull', True), ('window_start__isnull', True)), models.Q(('window_end__isnull', False), ('window_start__isnull', False)), _connector='OR'), name='trainingschedule_window_whole')],
                },
            ),
            migrations.CreateModel(
                name='TrainingRun',
                fields=[
                    ('job', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='training_run', serialize=False, to='cases.job')),
                    ('snapshot', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='cases.trainingsnapshot')),
                    ('recipe', models.CharField(choices=[('bcweb', 'bcweb'), ('paper', 'paper')], max_length=16)),
                    ('init', models.CharField(max_length=120)),
                    ('init_model', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.modelversion')),
                    ('seed', models.PositiveIntegerField(default=0)),
                    ('epochs', models.PositiveSmallIntegerField(null=True)),
                    ('size', models.PositiveSmallIntegerField(null=True)),
                    ('limit_images', models.PositiveIntegerField(null=True)),
                    ('reason', models.CharField(max_length=500)),
                    ('requested_by', models.CharField(max_length=160)),
                    ('requested_by_user', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('schedule', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='cases.trainingschedule')),
                    ('idempotency_owner', models.UUIDField(null=True)),
                    ('idempotency_key', models.CharField(blank=True, max_length=200)),
                    ('fingerprint', models.CharField(blank=True, max_length=64)),
                    ('facts', models.JSONField(default=dict)),
                    ('log_tail', models.TextField(blank=True)),
                    ('model_version', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='training_runs', to='cases.modelversion')),
                    ('weights_sha256', models.CharField(blank=True, max_length=64)),
                    ('card', models.JSONField(null=True)),
                    ('plan', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='runs', to='cases.gateplan')),
                    ('plan_sha256', models.CharField(blank=True, db_default='', default='', max_length=64)),
                    ('gate_report', models.CharField(blank=True, db_default='', default='', max_length=128)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-created_at'],
                    'indexes': [models.Index(condition=models.Q(('idempotency_key', ''), _negated=True), fields=['idempotency_owner', 'idempotency_key', '-created_at'], name='trainingrun_idempotency')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('recipe__in', ['bcweb', 'paper'])), name='trainingrun_recipe_known'), models.CheckConstraint(condition=models.Q(models.Q(('init', 'active'), ('init_model__isnull', False)), models.Q(models.Q(('init', 'active'), _negated=True), ('init_model__isnull', True)), _connector='OR'), name='trainingrun_active_names_its_model'), models.CheckConstraint(condition=models.Q(models.Q(('card__isnull', True), ('model_version__isnull', True), ('weights_sha256', '')), models.Q(('card__isnull', False), ('model_version__isnull', False), models.Q(('weights_sha256', ''), _negated=True)), _connector='OR'), name='trainingrun_output_whole'), models.CheckConstraint(condition=models.Q(models.Q(('gate_report', ''), ('plan__isnull', True), ('plan_sha256', '')), models.Q(('plan__isnull', False), ('plan_sha256__regex', '^[0-9a-f]{64}$')), _connector='OR'), name='trainingrun_plan_frozen'), models.CheckConstraint(condition=models.Q(('plan__isnull', True), models.Q(('gate_report', ''), ('model_version__isnull', True)), models.Q(('model_version__isnull', False), models.Q(('gate_report', ''), _negated=True)), _connector='OR'), name='trainingrun_judged_by_its_plan')],
                },
            ),
            migrations.CreateModel(
                name='LockedSetUse',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('snapshot', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='uses', to='cases.trainingsnapshot')),
                    ('plan', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='uses', to='cases.gateplan')),
                    ('run', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='locked_use', to='cases.trainingrun')),
                    ('facts', models.JSONField(default=dict)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-id'],
                },
            ),
            migrations.CreateModel(
                name='ModelEvent',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('model_version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='events', to='cases.modelversion')),
                    ('from_state', models.CharField(blank=True, max_length=16)),
                    ('to_state', models.CharField(max_length=16)),
                    ('actor', models.CharField(max_length=160)),
                    ('reason', models.CharField(blank=True, max_length=500)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['id'],
                },
            ),
            migrations.CreateModel(
                name='ModelFault',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('model_version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='faults', to='cases.modelversion')),
                    ('code', models.CharField(choices=[('file_damaged', 'file_damaged'), ('not_loadable', 'not_loadable')], max_length=24)),
                    ('actor', models.CharField(max_length=160)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['id'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('code__in', ['file_damaged', 'not_loadable'])), name='modelfault_code_known')],
                },
            ),
            migrations.CreateModel(
                name='PatientCorrection',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('case', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='corrections', to='cases.case')),
                    ('from_patient', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.patient')),
                    ('to_patient', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.patient')),
                    ('reason', models.CharField(blank=True, max_length=500)),
                    ('corrected_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['at', 'id'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('from_patient', models.F('to_patient')), _negated=True), name='correction_moves')],
                },
            ),
            migrations.CreateModel(
                name='PatientErasure',
                fields=[
                    ('patient', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='erasure', serialize=False, to='cases.patient')),
                    ('site', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='erasures', to='cases.site')),
                    ('reason', models.CharField(max_length=500)),
                    ('counts', models.JSONField()),
                    ('ids', models.JSONField()),
                    ('erased_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
            ),
            migrations.CreateModel(
                name='PatientPartition',
                fields=[
                    ('patient_key', models.CharField(max_length=80, primary_key=True, serialize=False)),
                    ('role', models.CharField(choices=[('training', 'training'), ('locked', 'locked')], max_length=12)),
                    ('key_id', models.CharField(max_length=16)),
                    ('freeze', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.snapshotfreeze')),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'constraints': [models.CheckConstraint(condition=models.Q(('role__in', ['training', 'locked'])), name='partition_role_known'), models.CheckConstraint(condition=models.Q(('patient_key__regex', '^hmac-sha256:[0-9a-f]{64}$')), name='partition_names_no_patient')],
                },
            ),
            migrations.CreateModel(
                name='PromotionRequest',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('model_version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='promotion_requests', to='cases.modelversion')),
                    ('target', models.CharField(choices=[('SHADOW', 'SHADOW'), ('ACTIVE', 'ACTIVE')], max_length=16)),
                    ('requested_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('reason', models.CharField(max_length=500)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('decision', models.CharField(blank=True, choices=[('approved', 'approved'), ('declined', 'declined'), ('withdrawn', 'withdrawn')], default='', max_length=12)),
                    ('decided_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('decision_reason', models.CharField(blank=True, max_length=500)),
                    ('decided_at', models.DateTimeField(null=True)),
                ],
                options={
                    'ordering': ['-created_at', '-id'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('target__in', ('SHADOW', 'ACTIVE'))), name='promotion_target_known'), models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='promotion_has_a_reason'), models.CheckConstraint(condition=models.Q(models.Q(('decided_at__isnull', True), ('decided_by__isnull', True), ('decision', ''), ('decision_reason', '')), models.Q(('decided_at__isnull', False), ('decided_by__isnull', False), ('decision__in', ['approved', 'declined', 'withdrawn']), models.Q(('decision_reason', ''), _negated=True)), _connector='OR'), name='promotion_decided_whole'), models.CheckConstraint(condition=models.Q(models.Q(('decision__in', ('approved', 'declined')), _negated=True), models.Q(('decided_by', models.F('requested_by')), _negated=True), _connector='OR'), name='promotion_by_a_second_person'), models.UniqueConstraint(condition=models.Q(('decision', '')), fields=('model_version',), name='promotion_one_open_per_model')],
                },
            ),
            migrations.CreateModel(
                name='ReaderFirstEvent',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('site', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='reader_first_events', to='cases.site')),
                    ('on', models.BooleanField()),
                    ('reason', models.CharField(max_length=500)),
                    ('changed_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['id'],
                    'indexes': [models.Index(fields=['site', '-id'], name='readerfirst_of_site')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='readerfirst_has_a_reason')],
                },
            ),
            migrations.CreateModel(
                name='Reading',
                fields=[
                    ('tissue_composition', models.CharField(blank=True, choices=[('homogeneous_fat', 'homogeneous_fat'), ('homogeneous_fibroglandular', 'homogeneous_fibroglandular'), ('heterogeneous', 'heterogeneous')], db_default='', default='', max_length=32)),
                    ('shape', models.CharField(blank=True, choices=[('oval', 'oval'), ('round', 'round'), ('irregular', 'irregular')], db_default='', default='', max_length=32)),
                    ('orientation', models.CharField(blank=True, choices=[('parallel', 'parallel'), ('not_parallel', 'not_parallel')], db_default='', default='', max_length=32)),
                    ('margin', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('circumscribed', 'circumscribed'), ('indistinct', 'indistinct'), ('angular', 'angular'), ('microlobulated', 'microlobulated'), ('spiculated', 'spiculated')], max_length=32), blank=True, db_default=[], default=list, size=None)),
                    ('echo_pattern', models.CharField(blank=True, choices=[('anechoic', 'anechoic'), ('hyperechoic', 'hyperechoic'), ('complex_cystic_and_solid', 'complex_cystic_and_solid'), ('hypoechoic', 'hypoechoic'), ('isoechoic', 'isoechoic'), ('heterogeneous', 'heterogeneous')], db_default='', default='', max_length=32)),
                    ('posterior_features', models.CharField(blank=True, choices=[('none', 'none'), ('enhancement', 'enhancement'), ('shadowing', 'shadowing'), ('combined', 'combined')], db_default='', default='', max_length=32)),
                    ('calcifications', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('in_mass', 'in_mass'), ('outside_mass', 'outside_mass'), ('intraductal', 'intraductal')], max_length=32), blank=True, db_default=[], default=list, size=None)),
                    ('associated_features', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('architectural_distortion', 'architectural_distortion'), ('duct_changes', 'duct_changes'), ('skin_thickening', 'skin_thickening'), ('skin_retraction', 'skin_retraction'), ('edema', 'edema')], max_length=32), blank=True, db_default=[], default=list, size=None)),
                    ('vascularity', models.CharField(blank=True, choices=[('absent', 'absent'), ('internal', 'internal'), ('rim', 'rim')], db_default='', default='', max_length=32)),
                    ('elasticity', models.CharField(blank=True, choices=[('soft', 'soft'), ('intermediate', 'intermediate'), ('hard', 'hard')], db_default='', default='', max_length=32)),
                    ('special_case', models.CharField(blank=True, choices=[('simple_cyst', 'simple_cyst'), ('clustered_microcysts', 'clustered_microcysts'), ('complicated_cyst', 'complicated_cyst'), ('mass_in_or_on_skin', 'mass_in_or_on_skin'), ('foreign_body', 'foreign_body'), ('intramammary_node', 'intramammary_node'), ('axillary_node', 'axillary_node'), ('vascular_abnormality', 'vascular_abnormality'), ('mondor_disease', 'mondor_disease'), ('postsurgical_fluid', 'postsurgical_fluid'), ('fat_necrosis', 'fat_necrosis')], db_default='', default='', max_length=32)),
                    ('size_1_mm', models.DecimalField(blank=True, decimal_places=1, max_digits=4, null=True)),
                    ('size_2_mm', models.DecimalField(blank=True, decimal_places=1, max_digits=4, null=True)),
                    ('size_3_mm', models.DecimalField(blank=True, decimal_places=1, max_digits=4, null=True)),
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('case', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='readings', to='cases.case')),
                    ('finding', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='readings', to='cases.finding')),
                    ('addendum_to', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='addenda', to='cases.reading')),
                    ('reader', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='readings', to=settings.AUTH_USER_MODEL)),
                    ('category', models.CharField(blank=True, choices=[('0', '0'), ('1', '1'), ('2', '2'), ('3', '3'), ('4A', '4A'), ('4B', '4B'), ('4C', '4C'), ('5', '5'), ('6', '6')], max_length=2)),
                    ('edition', models.CharField(choices=[('birads_5_2013', 'birads_5_2013')], default='birads_5_2013', max_length=20)),
                    ('label', models.CharField(choices=[('benign', 'benign'), ('malignant', 'malignant'), ('normal', 'normal'), ('none', 'none')], default='none', max_length=12)),
                    ('text', models.TextField(blank=True, max_length=4000)),
                    ('version', models.PositiveIntegerField(default=1)),
                    ('ai_seen', models.BooleanField(null=True)),
                    ('after_reveal', models.BooleanField(null=True)),
                    ('results_of_record', django.contrib.postgres.fields.ArrayField(base_field=models.UUIDField(), default=list, size=None)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('updated_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('signed_at', models.DateTimeField(null=True)),
                ],
                options={
                    'ordering': ['created_at', 'id'],
                    'indexes': [models.Index(fields=['case', 'signed_at'], name='reading_of_case')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('category', ''), ('category__in', ['0', '1', '2', '3', '4A', '4B', '4C', '5', '6']), _connector='OR'), name='reading_category_known'), models.CheckConstraint(condition=models.Q(('edition__in', ['birads_5_2013'])), name='reading_edition_known'), models.CheckConstraint(condition=models.Q(('label__in', ['benign', 'malignant', 'normal', 'none'])), name='reading_label_known'), models.CheckConstraint(condition=models.Q(models.Q(('ai_seen__isnull', True), ('results_of_record', []), ('signed_at__isnull', True)), models.Q(('ai_seen__isnull', False), ('signed_at__isnull', False)), _connector='OR'), name='reading_signed_says_what_was_seen'), models.CheckConstraint(condition=models.Q(('after_reveal__isnull', True), ('signed_at__isnull', False), _connector='OR'), name='reading_draft_reveals_nothing'), models.CheckConstraint(condition=models.Q(('signed_at__isnull', True), ('addendum_to__isnull', False), models.Q(('category', ''), _negated=True), _connector='OR'), name='reading_signed_has_a_category'), models.UniqueConstraint(condition=models.Q(('signed_at__isnull', True)), fields=('reader', 'case', 'finding', 'addendum_to'), name='reading_one_draft', nulls_distinct=False), models.UniqueConstraint(condition=models.Q(('addendum_to__isnull', True), ('signed_at__isnull', False)), fields=('reader', 'case', 'finding'), name='reading_one_signed', nulls_distinct=False), models.CheckConstraint(condition=models.Q(('shape__in', ['', 'oval', 'round', 'irregular'])), name='reading_shape_known'), models.CheckConstraint(condition=models.Q(('orientation__in', ['', 'parallel', 'not_parallel'])), name='reading_orientation_known'), models.CheckConstraint(condition=models.Q(('echo_pattern__in', ['', 'anechoic', 'hyperechoic', 'complex_cystic_and_solid', 'hypoechoic', 'isoechoic', 'heterogeneous'])), name='reading_echo_pattern_known'), models.CheckConstraint(condition=models.Q(('posterior_features__in', ['', 'none', 'enhancement', 'shadowing', 'combined'])), name='reading_posterior_features_known'), models.CheckConstraint(condition=models.Q(('vascularity__in', ['', 'absent', 'internal', 'rim'])), name='reading_vascularity_known'), models.CheckConstraint(condition=models.Q(('elasticity__in', ['', 'soft', 'intermediate', 'hard'])), name='reading_elasticity_known'), models.CheckConstraint(condition=models.Q(('special_case__in', ['', 'simple_cyst', 'clustered_microcysts', 'complicated_cyst', 'mass_in_or_on_skin', 'foreign_body', 'intramammary_node', 'axillary_node', 'vascular_abnormality', 'mondor_disease', 'postsurgical_fluid', 'fat_necrosis'])), name='reading_special_case_known'), models.CheckConstraint(condition=models.Q(('tissue_composition__in', ['', 'homogeneous_fat', 'homogeneous_fibroglandular', 'heterogeneous'])), name='reading_tissue_composition_known'), models.CheckConstraint(condition=models.Q(('margin__contained_by', ['circumscribed', 'indistinct', 'angular', 'microlobulated', 'spiculated'])), name='reading_margin_known'), models.CheckConstraint(condition=models.Q(('calcifications__contained_by', ['in_mass', 'outside_mass', 'intraductal'])), name='reading_calcifications_known'), models.CheckConstraint(condition=models.Q(('associated_features__contained_by', ['architectural_distortion', 'duct_changes', 'skin_thickening', 'skin_retraction', 'edema'])), name='reading_associated_features_known'), models.CheckConstraint(condition=models.Q(('size_1_mm__isnull', True), models.Q(('size_1_mm__gt', 0), ('size_1_mm__lte', Decimal('300'))), _connector='OR'), name='reading_size_1_mm_in_range'), models.CheckConstraint(condition=models.Q(('size_2_mm__isnull', True), models.Q(('size_2_mm__gt', 0), ('size_2_mm__lte', Decimal('300'))), _connector='OR'), name='reading_size_2_mm_in_range'), models.CheckConstraint(condition=models.Q(('size_3_mm__isnull', True), models.Q(('size_3_mm__gt', 0), ('size_3_mm__lte', Decimal('300'))), _connector='OR'), name='reading_size_3_mm_in_range'), models.CheckConstraint(condition=models.Q(models.Q(('size_2_mm__isnull', True), ('size_1_mm__isnull', False), _connector='OR'), models.Q(('size_3_mm__isnull', True), ('size_2_mm__isnull', False), _connector='OR')), name='reading_sizes_in_order'), models.CheckConstraint(condition=models.Q(models.Q(('margin__contains', ['circumscribed']), _negated=True), ('margin', ['circumscribed']), _connector='OR'), name='reading_circumscribed_alone'), models.CheckConstraint(condition=models.Q(models.Q(('associated_features', []), ('calcifications', []), ('echo_pattern', ''), ('elasticity', ''), ('finding__isnull', True), ('margin', []), ('orientation', ''), ('posterior_features', ''), ('shape', ''), ('size_1_mm__isnull', True), ('size_2_mm__isnull', True), ('size_3_mm__isnull', True), ('special_case', ''), ('vascularity', '')), models.Q(('finding__isnull', False), ('tissue_composition', '')), _connector='OR'), name='reading_lexicon_of_its_place')],
                },
            ),
            migrations.CreateModel(
                name='Replay',
                fields=[
                    ('job', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, serialize=False, to='cases.job')),
                    ('result', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='replays', to='cases.result')),
                    ('equal', models.BooleanField()),
                    ('differences', models.JSONField(default=list)),
                    ('tolerance', models.FloatField()),
                    ('engine', models.CharField(max_length=80)),
                    ('duration_ms', models.FloatField()),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'indexes': [models.Index(fields=['result', '-created_at'], name='replay_of_result')],
                    'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('differences', []), ('equal', True)), models.Q(('equal', False), models.Q(('differences', []), _negated=True)), _connector='OR'), name='replay_equal_exactly_without_differences')],
                },
            ),
            migrations.CreateModel(
                name='ResultRead',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('result', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='reads', to='cases.result')),
                    ('reader_id', models.UUIDField()),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'constraints': [models.UniqueConstraint(fields=('result', 'reader_id'), name='resultread_once')],
                },
            ),
            migrations.CreateModel(
                name='ResultWithdrawal',
                fields=[
                    ('result', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='withdrawal', serialize=False, to='cases.result')),
                    ('case', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='withdrawals', to='cases.case')),
                    ('reason', models.CharField(blank=True, max_length=500)),
                    ('withdrawn_by', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
            ),
            migrations.CreateModel(
                name='SavedView',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('user', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='saved_views', to=settings.AUTH_USER_MODEL)),
                    ('name', models.CharField(max_length=40)),
                    ('filters', models.JSONField(default=dict)),
                    ('is_default', models.BooleanField(default=False)),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['created_at', 'id'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('name', ''), _negated=True), name='savedview_has_a_name'), models.UniqueConstraint(fields=('user', 'name'), name='savedview_name_once'), models.UniqueConstraint(condition=models.Q(('is_default', True)), fields=('user',), name='savedview_one_default')],
                },
            ),
            migrations.CreateModel(
                name='ScheduleEdit',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('schedule', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='edits', to='cases.trainingschedule')),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['id'],
                },
            ),
            migrations.CreateModel(
                name='ScheduleFiring',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('schedule', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='firings', to='cases.trainingschedule')),
                    ('outcome', models.CharField(choices=[('started', 'started'), ('not_met', 'not_met'), ('refused', 'refused')], max_length=16)),
                    ('why', models.CharField(max_length=500)),
                    ('run', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.trainingrun')),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['-id'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('outcome__in', ['started', 'not_met', 'refused'])), name='schedulefiring_outcome_known'), models.CheckConstraint(condition=models.Q(models.Q(('outcome', 'started'), ('run__isnull', False)), models.Q(models.Q(('outcome', 'started'), _negated=True), ('run__isnull', True)), _connector='OR'), name='schedulefiring_run_exactly_when_started')],
                },
            ),
            migrations.CreateModel(
                name='ServiceHeartbeat',
                fields=[
                    ('name', models.CharField(max_length=160, primary_key=True, serialize=False)),
                    ('kind', models.CharField(max_length=20)),
                    ('ready', models.BooleanField(default=False)),
                    ('details', models.JSONField(default=dict)),
                    ('started_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                    ('seen_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
            ),
            migrations.CreateModel(
                name='ServingEvent',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('change', models.CharField(choices=[('suspended', 'suspended'), ('resumed', 'resumed')], max_length=12)),
                    ('reason', models.CharField(max_length=500)),
                    ('actor', models.CharField(max_length=160)),
                    ('user_id', models.UUIDField(null=True)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['id'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('change__in', ['suspended', 'resumed'])), name='servingevent_change_known'), models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='servingevent_has_a_reason')],
                },
            ),
            migrations.CreateModel(
                name='ShadowResult',
                fields=[
                    ('job', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='shadow_result', serialize=False, to='cases.job')),
                    ('result', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='shadow_results', to='cases.result')),
                    ('model_version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='shadow_results', to='cases.modelversion')),
                    ('outcome', models.CharField(choices=[('answered', 'answered'), ('abstained', 'abstained'), ('refused', 'refused')], max_length=12)),
                    ('reason_code', models.CharField(blank=True, max_length=40)),
                    ('label', models.CharField(blank=True, choices=[('benign', 'benign'), ('malignant', 'malignant'), ('normal', 'normal')], max_length=12)),
                    ('score_benign', models.FloatField(null=True)),
                    ('score_malignant', models.FloatField(null=True)),
                    ('score_normal', models.FloatField(null=True)),
                    ('threshold', models.FloatField()),
                    ('agrees', models.BooleanField()),
                    ('engine', models.CharField(max_length=80)),
                    ('duration_ms', models.FloatField()),
                    ('created_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'indexes': [models.Index(fields=['model_version', '-created_at'], name='shadowresult_of_model')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('outcome__in', ['answered', 'abstained', 'refused'])), name='shadowresult_outcome_known'), models.CheckConstraint(condition=models.Q(models.Q(('label', ''), ('outcome', 'refused')), models.Q(models.Q(('outcome', 'refused'), _negated=True), ('label__in', ['benign', 'malignant', 'normal'])), _connector='OR'), name='shadowresult_label_unless_refused'), models.UniqueConstraint(fields=('result', 'model_version'), name='shadowresult_once_per_model')],
                },
            ),
            migrations.CreateModel(
                name='SignInFailure',
                fields=[
                    ('id', models.BigAutoField(primary_key=True, serialize=False)),
                    ('kind', models.CharField(max_length=10)),
                    ('key', models.CharField(max_length=64)),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'indexes': [models.Index(fields=['key', '-at'], name='signinfailure_of_key'), models.Index(fields=['at'], name='signinfailure_at')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('kind__in', ['name', 'address', 'factor'])), name='signinfailure_kind_known')],
                },
            ),
            migrations.CreateModel(
                name='SnapshotPatient',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('snapshot', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='patient_keys', to='cases.trainingsnapshot')),
                    ('key', models.CharField(max_length=76)),
                    ('key_id', models.CharField(blank=True, db_default='', default='', max_length=16)),
                    ('by_issuer', models.BooleanField(db_default=False, default=False)),
                ],
                options={
                    'ordering': ['id'],
                    'constraints': [models.UniqueConstraint(fields=('snapshot', 'key', 'key_id'), name='snapshotpatient_once'), models.CheckConstraint(condition=models.Q(('key__regex', '^hmac-sha256:[0-9a-f]{64}$')), name='snapshotpatient_names_no_patient')],
                },
            ),
            migrations.CreateModel(
                name='TrainingEpoch',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('run', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='epoch_rows', to='cases.trainingrun')),
                    ('epoch', models.PositiveSmallIntegerField()),
                    ('values', models.JSONField()),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['epoch'],
                    'constraints': [models.UniqueConstraint(fields=('run', 'epoch'), name='trainingepoch_once')],
                },
            ),
            migrations.CreateModel(
                name='TrainingOrderer',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('run', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='orderers', to='cases.trainingrun')),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                ],
                options={
                    'ordering': ['id'],
                    'constraints': [models.UniqueConstraint(fields=('run', 'user'), name='trainingorderer_once')],
                },
            ),
            migrations.CreateModel(
                name='UserRole',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='role_rows', to=settings.AUTH_USER_MODEL)),
                    ('role', models.CharField(choices=[('sonographer', 'sonographer'), ('radiologist', 'radiologist'), ('admin', 'admin'), ('approver', 'approver'), ('auditor', 'auditor'), ('integration', 'integration')], max_length=20)),
                    ('granted_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
                    ('granted_at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'constraints': [models.UniqueConstraint(fields=('user', 'role'), name='userrole_once'), models.CheckConstraint(condition=models.Q(('role__in', ['sonographer', 'radiologist', 'admin', 'approver', 'auditor', 'integration'])), name='userrole_known'), models.CheckConstraint(condition=models.Q(('granted_by__isnull', True), models.Q(('granted_by', models.F('user')), _negated=True), _connector='OR'), name='userrole_not_by_self')],
                },
            ),
            migrations.CreateModel(
                name='Webhook',
                fields=[
                    ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                    ('site', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='webhooks', to='cases.site')),
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
                options={
                    'indexes': [models.Index(condition=models.Q(('enabled', True)), fields=['site'], name='webhook_told')],
                    'constraints': [models.UniqueConstraint(fields=('site', 'name'), name='webhook_name_once'), models.CheckConstraint(condition=models.Q(('events__contained_by', ['job.created', 'job.started', 'job.requeued', 'job.succeeded', 'job.failed', 'job.cancelled']), ('events__len__gt', 0)), name='webhook_events_known'), models.CheckConstraint(condition=models.Q(models.Q(('enabled', True), ('off_at__isnull', True), ('off_reason', '')), models.Q(('enabled', False), ('off_at__isnull', False), ('off_reason__in', ['by_hand', 'failing', 'gone'])), _connector='OR'), name='webhook_off_exactly_with_a_reason')],
                },
            ),
            migrations.CreateModel(
                name='WebhookDelivery',
                fields=[
                    ('id', models.UUIDField(editable=False, primary_key=True, serialize=False)),
                    ('webhook', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='deliveries', to='cases.webhook')),
                    ('event', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.jobevent')),
                    ('job', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.job')),
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
                options={
                    'indexes': [models.Index(condition=models.Q(('state__in', ['PENDING', 'SENDING'])), fields=['webhook', 'available_at'], name='delivery_due'), models.Index(condition=models.Q(('state__in', ['PENDING', 'SENDING'])), fields=['webhook', 'job', 'event'], name='delivery_order_of_job'), models.Index(condition=models.Q(('state', 'SENDING')), fields=['webhook'], name='delivery_busy'), models.Index(fields=['webhook', '-created_at', '-id'], name='delivery_log'), models.Index(condition=models.Q(('state__in', ['PENDING', 'SENDING']), _negated=True), fields=['finished_at'], name='delivery_kept_until')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['PENDING', 'SENDING', 'DELIVERED', 'FAILED'])), name='delivery_state_known'), models.CheckConstraint(condition=models.Q(('kind__in', ['job.created', 'job.started', 'job.requeued', 'job.succeeded', 'job.failed', 'job.cancelled', 'ping'])), name='delivery_kind_known'), models.CheckConstraint(condition=models.Q(models.Q(('finished_at__isnull', True), ('state__in', ['PENDING', 'SENDING'])), models.Q(models.Q(('state__in', ['PENDING', 'SENDING']), _negated=True), ('finished_at__isnull', False)), _connector='OR'), name='delivery_finished_at_exactly_when_ended'), models.CheckConstraint(condition=models.Q(models.Q(('event__isnull', True), ('job__isnull', True), ('kind', 'ping')), models.Q(models.Q(('kind', 'ping'), _negated=True), ('event__isnull', False), ('job__isnull', False)), _connector='OR'), name='delivery_names_its_event'), models.UniqueConstraint(fields=('webhook', 'event'), name='delivery_once')],
                },
            ),
            migrations.CreateModel(
                name='WebhookAttempt',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('delivery', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='attempts', to='cases.webhookdelivery')),
                    ('number', models.PositiveIntegerField()),
                    ('outcome', models.CharField(max_length=20)),
                    ('status_code', models.PositiveSmallIntegerField(null=True)),
                    ('detail', models.CharField(max_length=300)),
                    ('duration_ms', models.FloatField()),
                    ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ],
                options={
                    'ordering': ['number'],
                    'constraints': [models.CheckConstraint(condition=models.Q(('outcome__in', ['delivered', 'bad_status', 'redirected', 'gone', 'timed_out', 'not_resolved', 'address_refused', 'not_connected', 'tls_failed', 'bad_answer', 'interrupted', 'secret_unreadable'])), name='attempt_outcome_known'), models.UniqueConstraint(fields=('delivery', 'number'), name='attempt_once')],
                },
            ),
            migrations.CreateModel(
                name='WorklistChange',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('case_id', models.UUIDField()),
                ],
            ),
            migrations.CreateModel(
                name='WorklistEntry',
                fields=[
                    ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                    ('case', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='entry', to='cases.case')),
                    ('site', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.site')),
                    ('arrived_at', models.DateTimeField()),
                    ('priority', models.PositiveSmallIntegerField(choices=[(0, 'stat'), (1, 'urgent'), (2, 'routine')])),
                    ('state', models.CharField(choices=[('reading', 'reading'), ('waiting', 'waiting'), ('failed', 'failed'), ('cancelled', 'cancelled'), ('done', 'done'), ('erased', 'erased')], max_length=12)),
                    ('answer', models.CharField(choices=[('above', 'above'), ('below', 'below'), ('no_lesion', 'no_lesion'), ('abstained', 'abstained'), ('refused', 'refused'), ('withdrawn', 'withdrawn'), ('none', 'none')], max_length=12)),
                    ('top_score', models.FloatField()),
                    ('rank', models.PositiveSmallIntegerField()),
                    ('place', models.BigIntegerField()),
                ],
                options={
                    'indexes': [models.Index(fields=['site', 'rank', 'place', 'case'], name='worklist_order'), models.Index(fields=['site', '-arrived_at', '-case'], name='worklist_newest'), models.Index(fields=['site', '-top_score', '-case'], name='worklist_score'), models.Index(fields=['site', 'id'], name='worklist_number'), models.Index(condition=models.Q(('state', 'done'), _negated=True), fields=['site', 'state', '-arrived_at', '-case'], name='worklist_unfinished'), models.Index(condition=models.Q(('answer__in', ['above', 'below', 'no_lesion']), _negated=True), fields=['site', 'answer', '-arrived_at', '-case'], name='worklist_unanswered'), models.Index(condition=models.Q(('priority', 2), _negated=True), fields=['site', 'priority', '-arrived_at', '-case'], name='worklist_urgent')],
                    'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['reading', 'waiting', 'failed', 'cancelled', 'done', 'erased'])), name='worklist_state_known'), models.CheckConstraint(condition=models.Q(('answer__in', ['above', 'below', 'no_lesion', 'abstained', 'refused', 'withdrawn', 'none'])), name='worklist_answer_known'), models.CheckConstraint(condition=models.Q(('priority__in', [0, 1, 2])), name='worklist_priority_known')],
                },
            ),
        ]),
        migrations.RunSQL(GUARD, UNGUARD),
        migrations.RunSQL(WORKLIST, UNWORKLIST),
        # They go with their tables.
        migrations.RunSQL(TIDY + SEARCH, migrations.RunSQL.noop),
    ]
