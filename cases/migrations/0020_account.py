"""Failed attempts to sign in, counted for lock-out."""

import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0019_hooks_busy'),
    ]

    operations = [
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
    ]
