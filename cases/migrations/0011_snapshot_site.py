"""The site whose patients a snapshot of accepted images holds.

Safe while the earlier version still runs: what it freezes meanwhile has no site, and no site sees
it or trains from it. The same pictures frozen again are the same snapshot, with its site.
"""

import django.db.models.deletion
from django.db import migrations, models


def tell_sites(apps, schema_editor):
    Snapshot = apps.get_model("cases", "TrainingSnapshot")
    Freeze = apps.get_model("cases", "SnapshotFreeze")
    made = Freeze.objects.filter(snapshot__isnull=False)
    for snapshot_id, site_id in made.values_list("snapshot_id", "job__site_id"):
        Snapshot.objects.filter(pk=snapshot_id).update(site_id=site_id)


class Migration(migrations.Migration):

    dependencies = [
        ('cases', '0010_curation'),
    ]

    operations = [
        migrations.AddField(
            model_name='trainingsnapshot',
            name='site',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='cases.site'),
        ),
        migrations.RunPython(tell_sites, migrations.RunPython.noop),
    ]
