"""An index over the messages that are on their way: a few, however many wait."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0018_speed'),
    ]

    operations = [
        migrations.AddIndex(
            model_name='webhookdelivery',
            index=models.Index(condition=models.Q(('state', 'SENDING')), fields=['webhook'], name='delivery_busy'),
        ),
    ]
