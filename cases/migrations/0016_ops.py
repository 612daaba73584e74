"""Failed readings of a site, last failed first: for their list, and their number on each page."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0015_life'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='job',
            index=models.Index(condition=models.Q(('kind', 'inference'), ('state', 'FAILED')), fields=['site', '-finished_at', '-id'], name='job_failed'),
        ),
    ]
