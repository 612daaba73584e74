"""The design that most would begin with, to be held against: a Celery task per image, and the ORM.

A row is made and its id sent; the task loads the row, marks it as running, reads the picture,
sleeps in the model's place, stores a result and marks the row as done. No lease, no fence, no
audit, no events: it does less than the service, and loses work where a worker dies.
"""

from __future__ import annotations

import os
import sys
import time
import uuid

import django
from celery import Celery
from django.conf import settings
from django.db import connection, models, transaction
from django.db.models.functions import Now

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bcweb.settings")
django.setup()

from bench.sleeping_engine import HEATMAP, SECONDS_PER_PICTURE  # noqa: E402
from cases.models import Image  # noqa: E402
from cases.storage import read_bytes  # noqa: E402

app = Celery("plain", broker=settings.CELERY_BROKER_URL)
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_default_queue="plain",
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


class PlainJob(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=16, default="PENDING", db_index=True)
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "bench"


class PlainResult(models.Model):
    job = models.OneToOneField(PlainJob, on_delete=models.CASCADE, related_name="result")
    label = models.CharField(max_length=12)
    benign = models.FloatField()
    malignant = models.FloatField()
    normal = models.FloatField()
    heatmap = models.BinaryField()
    engine = models.CharField(max_length=80)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        app_label = "bench"


def make_tables() -> None:
    with connection.schema_editor() as editor:
        editor.create_model(PlainJob)
        editor.create_model(PlainResult)


def submit(image: Image) -> None:
    """The service call: a row, and a message once it is committed."""
    with transaction.atomic():
        job = PlainJob.objects.create(image=image)
        transaction.on_commit(lambda: answer.delay(str(job.pk)))


@app.task(name="bench.plain.answer")
def answer(job_id: str) -> None:
    job = PlainJob.objects.select_related("image").get(pk=job_id)
    job.state = "RUNNING"
    job.started_at = Now()
    job.save()
    read_bytes(job.image.storage_name)
    time.sleep(SECONDS_PER_PICTURE)
    with transaction.atomic():
        PlainResult.objects.create(
            job=job,
            label="benign",
            benign=0.8,
            malignant=0.1,
            normal=0.1,
            heatmap=HEATMAP,
            engine="sleeping",
        )
        job.state = "SUCCEEDED"
        job.finished_at = Now()
        job.save()


def main() -> None:
    app.worker_main(
        [
            *("--quiet", "worker", "--pool", "solo", "--queues", "plain"),
            *("--without-gossip", "--without-mingle", "--loglevel", "ERROR"),
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
