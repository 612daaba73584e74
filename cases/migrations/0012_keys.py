"""Which secret made the key of an imported patient, and keys by issuer beside those by source.

Rows of before keep an empty key_id: they are compared with nothing until the folder is imported
again.
"""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0011_snapshot_site'),
    ]

    operations = [
        migrations.AddField(
            model_name='snapshotpatient',
            name='key_id',
            field=models.CharField(blank=True, db_default='', default='', max_length=16),
        ),
        migrations.AddField(
            model_name='snapshotpatient',
            name='by_issuer',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.RemoveConstraint(
            model_name='snapshotpatient',
            name='snapshotpatient_once',
        ),
        migrations.AddConstraint(
            model_name='snapshotpatient',
            constraint=models.UniqueConstraint(fields=('snapshot', 'key', 'key_id'), name='snapshotpatient_once'),
        ),
    ]
