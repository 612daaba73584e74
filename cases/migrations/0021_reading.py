"""The words of the ultrasound lexicon in readings, and when a site reads first.

Safe while the earlier version still runs: new columns of `Reading` are empty or have a default in
the database. When a site began and ceased to read first is never changed, by the triggers of 0002.
The earlier version withholds nothing: let none of it run when a site is told to read first.
"""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.datetime
from decimal import Decimal
from django.conf import settings
from django.db import migrations, models

GUARD = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON cases_readerfirstevent
  FOR EACH ROW EXECUTE FUNCTION bcweb_append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON cases_readerfirstevent
  FOR EACH STATEMENT EXECUTE FUNCTION bcweb_append_only();
ALTER TABLE cases_readerfirstevent ENABLE ALWAYS TRIGGER append_only;
ALTER TABLE cases_readerfirstevent ENABLE ALWAYS TRIGGER append_only_truncate;
"""
UNGUARD = """
DROP TRIGGER append_only_truncate ON cases_readerfirstevent;
DROP TRIGGER append_only ON cases_readerfirstevent;
"""


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0020_account'),
    ]

    operations = [
        migrations.CreateModel(
            name='ReaderFirstEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('on', models.BooleanField()),
                ('reason', models.CharField(max_length=500)),
                ('at', models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.AddField(
            model_name='reading',
            name='after_reveal',
            field=models.BooleanField(null=True),
        ),
        migrations.AddField(
            model_name='reading',
            name='associated_features',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('architectural_distortion', 'architectural_distortion'), ('duct_changes', 'duct_changes'), ('skin_thickening', 'skin_thickening'), ('skin_retraction', 'skin_retraction'), ('edema', 'edema')], max_length=32), blank=True, db_default=[], default=list, size=None),
        ),
        migrations.AddField(
            model_name='reading',
            name='calcifications',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('in_mass', 'in_mass'), ('outside_mass', 'outside_mass'), ('intraductal', 'intraductal')], max_length=32), blank=True, db_default=[], default=list, size=None),
        ),
        migrations.AddField(
            model_name='reading',
            name='echo_pattern',
            field=models.CharField(blank=True, choices=[('anechoic', 'anechoic'), ('hyperechoic', 'hyperechoic'), ('complex_cystic_and_solid', 'complex_cystic_and_solid'), ('hypoechoic', 'hypoechoic'), ('isoechoic', 'isoechoic'), ('heterogeneous', 'heterogeneous')], db_default='', default='', max_length=32),
        ),
        migrations.AddField(
            model_name='reading',
            name='elasticity',
            field=models.CharField(blank=True, choices=[('soft', 'soft'), ('intermediate', 'intermediate'), ('hard', 'hard')], db_default='', default='', max_length=32),
        ),
        migrations.AddField(
            model_name='reading',
            name='margin',
            field=django.contrib.postgres.fields.ArrayField(base_field=models.CharField(choices=[('circumscribed', 'circumscribed'), ('indistinct', 'indistinct'), ('angular', 'angular'), ('microlobulated', 'microlobulated'), ('spiculated', 'spiculated')], max_length=32), blank=True, db_default=[], default=list, size=None),
        ),
        migrations.AddField(
            model_name='reading',
            name='orientation',
            field=models.CharField(blank=True, choices=[('parallel', 'parallel'), ('not_parallel', 'not_parallel')], db_default='', default='', max_length=32),
        ),
        migrations.AddField(
            model_name='reading',
            name='posterior_features',
            field=models.CharField(blank=True, choices=[('none', 'none'), ('enhancement', 'enhancement'), ('shadowing', 'shadowing'), ('combined', 'combined')], db_default='', default='', max_length=32),
        ),
        migrations.AddField(
            model_name='reading',
            name='shape',
            field=models.CharField(blank=True, choices=[('oval', 'oval'), ('round', 'round'), ('irregular', 'irregular')], db_default='', default='', max_length=32),
        ),
        migrations.AddField(
            model_name='reading',
            name='size_1_mm',
            field=models.DecimalField(blank=True, decimal_places=1, max_digits=4, null=True),
        ),
        migrations.AddField(
            model_name='reading',
            name='size_2_mm',
            field=models.DecimalField(blank=True, decimal_places=1, max_digits=4, null=True),
        ),
        migrations.AddField(
            model_name='reading',
            name='size_3_mm',
            field=models.DecimalField(blank=True, decimal_places=1, max_digits=4, null=True),
        ),
        migrations.AddField(
            model_name='reading',
            name='special_case',
            field=models.CharField(blank=True, choices=[('simple_cyst', 'simple_cyst'), ('clustered_microcysts', 'clustered_microcysts'), ('complicated_cyst', 'complicated_cyst'), ('mass_in_or_on_skin', 'mass_in_or_on_skin'), ('foreign_body', 'foreign_body'), ('intramammary_node', 'intramammary_node'), ('axillary_node', 'axillary_node'), ('vascular_abnormality', 'vascular_abnormality'), ('mondor_disease', 'mondor_disease'), ('postsurgical_fluid', 'postsurgical_fluid'), ('fat_necrosis', 'fat_necrosis')], db_default='', default='', max_length=32),
        ),
        migrations.AddField(
            model_name='reading',
            name='tissue_composition',
            field=models.CharField(blank=True, choices=[('homogeneous_fat', 'homogeneous_fat'), ('homogeneous_fibroglandular', 'homogeneous_fibroglandular'), ('heterogeneous', 'heterogeneous')], db_default='', default='', max_length=32),
        ),
        migrations.AddField(
            model_name='reading',
            name='vascularity',
            field=models.CharField(blank=True, choices=[('absent', 'absent'), ('internal', 'internal'), ('rim', 'rim')], db_default='', default='', max_length=32),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('after_reveal__isnull', True), ('signed_at__isnull', False), _connector='OR'), name='reading_draft_reveals_nothing'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('shape__in', ['', 'oval', 'round', 'irregular'])), name='reading_shape_known'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('orientation__in', ['', 'parallel', 'not_parallel'])), name='reading_orientation_known'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('echo_pattern__in', ['', 'anechoic', 'hyperechoic', 'complex_cystic_and_solid', 'hypoechoic', 'isoechoic', 'heterogeneous'])), name='reading_echo_pattern_known'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('posterior_features__in', ['', 'none', 'enhancement', 'shadowing', 'combined'])), name='reading_posterior_features_known'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('vascularity__in', ['', 'absent', 'internal', 'rim'])), name='reading_vascularity_known'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('elasticity__in', ['', 'soft', 'intermediate', 'hard'])), name='reading_elasticity_known'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('special_case__in', ['', 'simple_cyst', 'clustered_microcysts', 'complicated_cyst', 'mass_in_or_on_skin', 'foreign_body', 'intramammary_node', 'axillary_node', 'vascular_abnormality', 'mondor_disease', 'postsurgical_fluid', 'fat_necrosis'])), name='reading_special_case_known'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('tissue_composition__in', ['', 'homogeneous_fat', 'homogeneous_fibroglandular', 'heterogeneous'])), name='reading_tissue_composition_known'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('margin__contained_by', ['circumscribed', 'indistinct', 'angular', 'microlobulated', 'spiculated'])), name='reading_margin_known'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('calcifications__contained_by', ['in_mass', 'outside_mass', 'intraductal'])), name='reading_calcifications_known'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('associated_features__contained_by', ['architectural_distortion', 'duct_changes', 'skin_thickening', 'skin_retraction', 'edema'])), name='reading_associated_features_known'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('size_1_mm__isnull', True), models.Q(('size_1_mm__gt', 0), ('size_1_mm__lte', Decimal('300'))), _connector='OR'), name='reading_size_1_mm_in_range'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('size_2_mm__isnull', True), models.Q(('size_2_mm__gt', 0), ('size_2_mm__lte', Decimal('300'))), _connector='OR'), name='reading_size_2_mm_in_range'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(('size_3_mm__isnull', True), models.Q(('size_3_mm__gt', 0), ('size_3_mm__lte', Decimal('300'))), _connector='OR'), name='reading_size_3_mm_in_range'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('size_2_mm__isnull', True), ('size_1_mm__isnull', False), _connector='OR'), models.Q(('size_3_mm__isnull', True), ('size_2_mm__isnull', False), _connector='OR')), name='reading_sizes_in_order'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('margin__contains', ['circumscribed']), _negated=True), ('margin', ['circumscribed']), _connector='OR'), name='reading_circumscribed_alone'),
        ),
        migrations.AddConstraint(
            model_name='reading',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('associated_features', []), ('calcifications', []), ('echo_pattern', ''), ('elasticity', ''), ('finding__isnull', True), ('margin', []), ('orientation', ''), ('posterior_features', ''), ('shape', ''), ('size_1_mm__isnull', True), ('size_2_mm__isnull', True), ('size_3_mm__isnull', True), ('special_case', ''), ('vascularity', '')), models.Q(('finding__isnull', False), ('tissue_composition', '')), _connector='OR'), name='reading_lexicon_of_its_place'),
        ),
        migrations.AddField(
            model_name='readerfirstevent',
            name='changed_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='readerfirstevent',
            name='site',
            field=models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='reader_first_events', to='cases.site'),
        ),
        migrations.AddIndex(
            model_name='readerfirstevent',
            index=models.Index(fields=['site', '-id'], name='readerfirst_of_site'),
        ),
        migrations.AddConstraint(
            model_name='readerfirstevent',
            constraint=models.CheckConstraint(condition=models.Q(('reason', ''), _negated=True), name='readerfirst_has_a_reason'),
        ),
        migrations.RunSQL(GUARD, UNGUARD),
    ]
