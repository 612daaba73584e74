"""WSGI entry point: `gunicorn bcweb.wsgi:application`."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bcweb.settings")

application = get_wsgi_application()
