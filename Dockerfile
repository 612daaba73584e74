# Two images: `web` (web server, beat, set-up, webhooks; no torch) and `worker` (inference and
# training). Both run with a root file system that cannot be written (docker-compose.yml).
#   docker build --target web -t bcweb-web .      docker build --target worker -t bcweb-worker .

FROM python:3.12-slim-bookworm AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PATH=/venv/bin:$PATH \
    BCWEB_STATE=/state \
    BCWEB_DEMO=0 \
    ORT_DISABLE_TELEMETRY=1
RUN groupadd --system --gid 10001 bcweb \
    && useradd --system --uid 10001 --gid bcweb --home-dir /state --no-create-home bcweb \
    && install --directory --owner=bcweb --group=bcweb --mode=0700 /state \
    && install --directory --owner=bcweb --group=bcweb --mode=0700 /state/frozen \
    && install --directory --owner=bcweb --group=bcweb --mode=0700 /state/models
WORKDIR /app

FROM base AS web-packages
COPY requirements/web.txt /tmp/requirements.txt
RUN python -m venv /venv && pip install --require-hashes -r /tmp/requirements.txt

FROM base AS worker-packages
COPY requirements/worker.txt /tmp/requirements.txt
RUN python -m venv /venv && pip install --require-hashes -r /tmp/requirements.txt

# The code belongs to root: the service cannot change itself.
FROM base AS app
COPY manage.py ./
COPY bcweb ./bcweb
COPY cases ./cases
COPY ml ./ml
COPY worker ./worker
COPY templates ./templates
COPY locale ./locale
USER 10001:10001

FROM app AS web
COPY --from=web-packages /venv /venv
# The keys are for this command only: nothing of them stays in the image.
RUN SECRET_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(48))')" \
    BCWEB_PATIENT_KEY="$(python -c 'import secrets; print(secrets.token_urlsafe(48))')" \
    python manage.py collectstatic --noinput --verbosity 0
ENV WEB_CONCURRENCY=2
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD ["python", "bcweb/embedded/launch.py", "healthcheck", "web"]
CMD ["gunicorn", "bcweb.wsgi:application", "--config", "python:bcweb.gunicorn", "--bind", "0.0.0.0:8000", "--preload", \
     "--worker-class", "gthread", "--threads", "8", "--timeout", "60", \
     "--graceful-timeout", "20", "--worker-tmp-dir", "/dev/shm", "--no-control-socket"]

FROM app AS worker
COPY --from=worker-packages /venv /venv
HEALTHCHECK --interval=30s --timeout=10s --start-period=180s --retries=3 \
    CMD ["python", "bcweb/embedded/launch.py", "healthcheck", "inference"]
CMD ["celery", "--quiet", "-A", "bcweb", "worker", "--pool", "solo", "--queues", "inference,maintenance", \
     "--hostname", "inference@%h", "--loglevel", "INFO", "--without-gossip", "--without-mingle"]
