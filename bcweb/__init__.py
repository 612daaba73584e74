"""The Django project. Importing it makes the Celery app the current one."""

from bcweb.celery import app as celery_app

__all__ = ["celery_app"]
