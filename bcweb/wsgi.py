"""WSGI entry point: `gunicorn bcweb.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bcweb.settings")

_django = get_wsgi_application()

# After the set-up: it reads settings.
from bcweb.handover import HandOver  # noqa: E402

application = HandOver(_django)
