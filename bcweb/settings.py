"""All settings, from the environment, parsed strictly: a wrong value stops the start and is named.

docs/operations.md lists the variables. Without `DATABASE_URL` / `REDIS_URL` the embedded
services of the state folder are used (bcweb.embedded).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import available_timezones

import dj_database_url
import environs
from django.core.exceptions import ImproperlyConfigured
from marshmallow import validate

from bcweb import accounts, api_schema, byte_store, language, patient_key, secret_files
from bcweb.broker import BROKER_OPTIONS, PUBLISH_RETRIES, beat_schedule
from bcweb.content_policy import content_security_policy
from bcweb.embedded import paths
from bcweb.logging import configure_structlog, logging_config
from cases.outbound import networks_of

BASE_DIR = Path(__file__).resolve().parent.parent
# Secrets may come by file as well: NAME_FILE instead of NAME.
env = environs.FileAwareEnv(eager=False, strip_whitespace=True)
try:
    secret_files.check(os.environ)
    _given_database_url = secret_files.database_url(os.environ)
    _given_redis_url = secret_files.redis_url(os.environ)
except secret_files.SecretFileError as error:
    raise ImproperlyConfigured(f"settings from the environment: {error}") from error

# --- Where state lives -----------------------------------------------------------------------
STATE_DIR = paths.state_dir()
DATABASE_URL = _given_database_url or paths.database_url(STATE_DIR)
REDIS_URL = _given_redis_url or paths.redis_url(STATE_DIR)
# Where Postgres keeps its data, where that is a disk of this machine that is ours to watch.
POSTGRES_DATA = STATE_DIR / "postgres" if paths.database_url(STATE_DIR) == DATABASE_URL else None

# Behind pgbouncer in transaction mode: no connection belongs to anybody for longer than that.
BCWEB_POOLER = env.bool("BCWEB_POOLER", default=False)

# --- Web -------------------------------------------------------------------------------------
DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="")
# Makes the keys that stand for patients in snapshots. Never another one: see docs/curation.md.
BCWEB_PATIENT_KEY = env.str("BCWEB_PATIENT_KEY", default="")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# True behind TLS: secure cookies, HSTS, redirect to https.
BCWEB_TLS = env.bool("BCWEB_TLS", default=False)
# True only where a proxy of ours sets X-Forwarded-Proto (and strips the client's).
BCWEB_BEHIND_PROXY = env.bool("BCWEB_BEHIND_PROXY", default=False)
BCWEB_SESSION_HOURS = env.int("BCWEB_SESSION_HOURS", default=10, validate=validate.Range(1, 168))

# --- The service -----------------------------------------------------------------------------
# Whether tokens of systems, too, get answers of a site that reads first only once somebody has
# read the case: for systems that show them to people.
BCWEB_READER_FIRST_TOKENS = env.bool("BCWEB_READER_FIRST_TOKENS", default=False)
BCWEB_DEMO = env.bool("BCWEB_DEMO", default=False)
# Lock-out, second factors, idle sessions, single sign-on.
BCWEB_ACCOUNTS = accounts.declare(env, demo=BCWEB_DEMO)
BCWEB_URL = env.str("BCWEB_URL", default="http://127.0.0.1:8000")
BCWEB_SITE_NAME = env.str("BCWEB_SITE_NAME", default="Main site")
BCWEB_MAX_UPLOAD_BYTES = env.int(
    "BCWEB_MAX_UPLOAD_BYTES", default=256 * 1024**2, validate=validate.Range(min=1024)
)
BCWEB_MAX_FILES = env.int("BCWEB_MAX_FILES", default=100, validate=validate.Range(1, 1000))
BCWEB_MAX_PIXELS = env.int("BCWEB_MAX_PIXELS", default=50_000_000, validate=validate.Range(min=1))
BCWEB_DECODE_SECONDS = env.int("BCWEB_DECODE_SECONDS", default=20, validate=validate.Range(1, 600))
BCWEB_DECODE_MEMORY_MB = env.int(
    "BCWEB_DECODE_MEMORY_MB", default=2048, validate=validate.Range(min=256)
)
BCWEB_BATCH = env.int("BCWEB_BATCH", default=8, validate=validate.Range(1, 256))
BCWEB_LEASE_SECONDS = env.int("BCWEB_LEASE_SECONDS", default=20, validate=validate.Range(3, 3600))
BCWEB_SWEEP_SECONDS = env.int("BCWEB_SWEEP_SECONDS", default=5, validate=validate.Range(1, 600))
# With so many images waiting, or so little disk left to the database, nothing more is taken in.
BCWEB_MAX_QUEUE = env.int("BCWEB_MAX_QUEUE", default=20_000, validate=validate.Range(min=0))
BCWEB_RESERVE_MB = env.int("BCWEB_RESERVE_MB", default=512, validate=validate.Range(min=0))
BCWEB_MAX_ATTEMPTS = env.int("BCWEB_MAX_ATTEMPTS", default=3, validate=validate.Range(1, 20))
# Wall time an engine may take for a batch, and for its start, before it is killed.
BCWEB_BATCH_SECONDS = env.int("BCWEB_BATCH_SECONDS", default=60, validate=validate.Range(1, 3600))
BCWEB_ENGINE_START_SECONDS = env.int(
    "BCWEB_ENGINE_START_SECONDS", default=120, validate=validate.Range(1, 3600)
)
BCWEB_ENGINE_MEMORY_MB = env.int(
    "BCWEB_ENGINE_MEMORY_MB", default=4096, validate=validate.Range(min=0)
)
# Of a worker that was told to end: how long the batch it has may go on before it is given back.
BCWEB_STOP_SECONDS = env.int("BCWEB_STOP_SECONDS", default=20, validate=validate.Range(0, 3600))
BCWEB_DEVICE = env.str(
    "BCWEB_DEVICE", default="auto", validate=validate.Regexp(r"^(auto|cpu|cuda(:\d+)?)$")
)
BCWEB_ENGINE = env.str(
    "BCWEB_ENGINE", default="auto", validate=validate.OneOf(["auto", "pytorch", "onnx"])
)
BCWEB_THREADS = env.int("BCWEB_THREADS", default=0, validate=validate.Range(0, 256))
# Decoder children per web process (read by cases.intake.sandbox, which knows no settings).
BCWEB_DECODERS = env.int("BCWEB_DECODERS", default=2, validate=validate.Range(1, 64))
# What is watched of the models at work, and from where on an alert is raised (docs/watch.md).
BCWEB_WATCH_DAYS = env.int("BCWEB_WATCH_DAYS", default=30, validate=validate.Range(1, 365))
BCWEB_WATCH_REFERENCE = env.int(
    "BCWEB_WATCH_REFERENCE", default=500, validate=validate.Range(50, 100_000)
)
BCWEB_WATCH_DRIFT_PSI = env.float(
    "BCWEB_WATCH_DRIFT_PSI", default=0.25, validate=validate.Range(0.01, 100)
)
BCWEB_WATCH_FAR_SHARE = env.float(
    "BCWEB_WATCH_FAR_SHARE", default=0.10, validate=validate.Range(0.05, 1)
)
BCWEB_WATCH_REFUSED_SHARE = env.float(
    "BCWEB_WATCH_REFUSED_SHARE", default=0.10, validate=validate.Range(0, 1)
)
BCWEB_WATCH_ABSTAINED_SHARE = env.float(
    "BCWEB_WATCH_ABSTAINED_SHARE", default=0.30, validate=validate.Range(0, 1)
)
# Webhooks: what the sealing key of their secrets is made of (SECRET_KEY where it is empty), which
# addresses they may have, and how long a message is tried (docs/webhooks.md).
BCWEB_WEBHOOK_KEY = env.str("BCWEB_WEBHOOK_KEY", default="")
BCWEB_WEBHOOK_ALLOW: list[str] = env.list("BCWEB_WEBHOOK_ALLOW", default=[])
BCWEB_WEBHOOK_HTTP = env.bool("BCWEB_WEBHOOK_HTTP", default=False)
BCWEB_WEBHOOK_PORTS: list[int] = env.list("BCWEB_WEBHOOK_PORTS", subcast=int, default=[443, 8443])
BCWEB_WEBHOOK_SECONDS = env.int("BCWEB_WEBHOOK_SECONDS", default=10, validate=validate.Range(1, 60))
BCWEB_WEBHOOK_ATTEMPTS = env.int(
    "BCWEB_WEBHOOK_ATTEMPTS", default=10, validate=validate.Range(1, 30)
)
BCWEB_WEBHOOK_OFF_HOURS = env.int(
    "BCWEB_WEBHOOK_OFF_HOURS", default=72, validate=validate.Range(1, 8760)
)
BCWEB_WEBHOOK_KEEP_DAYS = env.int(
    "BCWEB_WEBHOOK_KEEP_DAYS", default=30, validate=validate.Range(1, 3650)
)
# Requests a minute of one token or person, and uploads (0: nobody counts).
BCWEB_THROTTLE = env.int("BCWEB_THROTTLE", default=60_000, validate=validate.Range(min=0))
BCWEB_THROTTLE_UPLOADS = env.int(
    "BCWEB_THROTTLE_UPLOADS", default=6_000, validate=validate.Range(min=0)
)
# Connections that wait for events: of one token or session, of all, in each process of the web
# server; and how long one lasts before the client comes back.
BCWEB_EVENTS_PER_CALLER = env.int(
    "BCWEB_EVENTS_PER_CALLER", default=500, validate=validate.Range(0, 100_000)
)
BCWEB_EVENTS_MAX = env.int("BCWEB_EVENTS_MAX", default=2000, validate=validate.Range(0, 100_000))
BCWEB_EVENTS_SECONDS = env.int(
    "BCWEB_EVENTS_SECONDS", default=300, validate=validate.Range(5, 86_400)
)
# Who may read /metrics; without one there is no such page.
BCWEB_METRICS_TOKEN = env.str(
    "BCWEB_METRICS_TOKEN", default="", validate=validate.Regexp(r"^([\x21-\x7e]{32,200})?\Z")
)
# Where uploaded bytes are kept (docs/adr/0009).
_byte_store = byte_store.declare(env)
TIME_ZONE = env.str(
    "TIME_ZONE", default="UTC", validate=validate.OneOf(sorted(available_timezones()))
)
LOG_LEVEL = env.str(
    "LOG_LEVEL", default="INFO", validate=validate.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"])
)
LOG_FORMAT = env.str("LOG_FORMAT", default="json", validate=validate.OneOf(["json", "console"]))

try:
    env.seal()
    _database = dj_database_url.parse(DATABASE_URL)
    urlsplit(REDIS_URL).port  # noqa: B018 - raises ValueError for a port that is no number
    networks_of(BCWEB_WEBHOOK_ALLOW)
    patient_key.check(STATE_DIR, BCWEB_PATIENT_KEY)
    accounts.check(BCWEB_ACCOUNTS)
except (environs.EnvError, dj_database_url.ParseError, ValueError) as error:
    raise ImproperlyConfigured(f"settings from the environment: {error}") from error
if not _database["ENGINE"].endswith("postgresql"):
    raise ImproperlyConfigured("DATABASE_URL: bcweb needs PostgreSQL (postgresql://...)")
if not REDIS_URL.startswith(("redis://", "rediss://", "redis+socket://")):
    raise ImproperlyConfigured("REDIS_URL: must start with redis://, rediss:// or redis+socket://")


def _kept_secret(name: str, given: str, file: str) -> str:
    """The given one; else one made once and kept in the state folder (mode 0600)."""
    if given:
        if len(given) < 32:
            raise ImproperlyConfigured(f"{name}: at least 32 characters")
        return given
    path = STATE_DIR / file
    if not path.exists():
        STATE_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = STATE_DIR / f".{file}.{secrets.token_hex(8)}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        try:
            # A link appears whole or not at all; of two processes at once, the first key counts.
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_text().strip()


SECRET_KEY = _kept_secret("SECRET_KEY", SECRET_KEY, "secret_key")
BCWEB_PATIENT_KEY = _kept_secret("BCWEB_PATIENT_KEY", BCWEB_PATIENT_KEY, "patient_key")
if BCWEB_WEBHOOK_KEY and len(BCWEB_WEBHOOK_KEY) < 32:
    raise ImproperlyConfigured("BCWEB_WEBHOOK_KEY: at least 32 characters")

# --- Django ----------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_structlog",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
    "django_celery_beat",
    *accounts.APPS,
    "cases",
    "worker",
]

MIDDLEWARE = [
    "bcweb.http_metrics.HttpMetricsMiddleware",
    "bcweb.middleware.RequestIdMiddleware",
    # Before the check for forged forms, which reads the whole body.
    "bcweb.middleware.RoomMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "bcweb.language.LanguageMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "bcweb.session_rules.SessionRulesMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "bcweb.middleware.RequestLogMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "bcweb.urls"
WSGI_APPLICATION = "bcweb.wsgi.application"
AUTH_USER_MODEL = "cases.User"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "cases.portal.context.portal",
            ],
        },
    },
]

DATABASES = {
    "default": {
        **_database,
        "ENGINE": "bcweb.database",
        # One connection per server thread, checked before reuse: Postgres may restart under us.
        "CONN_MAX_AGE": 300,
        "CONN_HEALTH_CHECKS": True,
        # Such a cursor outlives its transaction, and the next part would be asked of another server
        # process.
        "DISABLE_SERVER_SIDE_CURSORS": BCWEB_POOLER,
        # Nobody waits for ever on a lock: the request fails as "busy" and can be repeated.
        "OPTIONS": {
            "connect_timeout": 5,
            # Pages ask for few rows through indexes: compiling a query costs more than it saves.
            # A pooler takes no such words: there the role has them (docs/operations.md).
            **({} if BCWEB_POOLER else {"options": "-c lock_timeout=15000 -c jit=off"}),
            **_database.get("OPTIONS", {}),
        },
    }
}

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": paths.cache_url(REDIS_URL),
        "KEY_PREFIX": "bcweb",
        # A request must not hang on it: what is kept there can be done without.
        "OPTIONS": {"socket_connect_timeout": 2, "socket_timeout": 2},
    }
}

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    "uploads": byte_store.uploads_storage(_byte_store, BCWEB_MAX_UPLOAD_BYTES, BCWEB_LEASE_SECONDS),
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
STATIC_URL = "/static/"
STATIC_ROOT = STATE_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "bcweb" / "static"]

FILE_UPLOAD_HANDLERS = ["cases.intake.upload.HashingUploadHandler"]
DATA_UPLOAD_MAX_NUMBER_FILES = BCWEB_MAX_FILES
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024**2

LOGIN_URL = LOGOUT_REDIRECT_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
# How long the link lasts by which somebody chooses a first or another password.
PASSWORD_RESET_TIMEOUT = 24 * 3600
# With the rules for passwords.
globals().update(accounts.library_settings(BCWEB_ACCOUNTS, behind_proxy=BCWEB_BEHIND_PROXY))

USE_TZ = True
LOCALE_PATHS = [BASE_DIR / "locale"]
globals().update(language.settings_of(tls=BCWEB_TLS))

# --- Security --------------------------------------------------------------------------------
SESSION_COOKIE_AGE = BCWEB_SESSION_HOURS * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = BCWEB_TLS
SECURE_HSTS_SECONDS = 31_536_000 if BCWEB_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = BCWEB_TLS
# Health checks and Prometheus come from inside, without TLS.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
if BCWEB_BEHIND_PROXY:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = content_security_policy(accounts.form_targets(BCWEB_ACCOUNTS))

# --- API -------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "cases.api.authentication.BearerTokenAuthentication",
        "cases.api.authentication.PortalSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["cases.api.permissions.HasCapability"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [
        "rest_framework.parsers.JSONParser",
        "rest_framework.parsers.FormParser",
        "rest_framework.parsers.MultiPartParser",
    ],
    "DEFAULT_PAGINATION_CLASS": "cases.api.pagination.CreatedCursorPagination",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["cases.api.throttling.CallerThrottle"],
    "EXCEPTION_HANDLER": "cases.api.errors.problem_handler",
    "UNAUTHENTICATED_USER": None,
    "PAGE_SIZE": 50,
}
SPECTACULAR_SETTINGS = api_schema.SETTINGS

# --- Celery ----------------------------------------------------------------------------------
# Rows are the truth, messages are a doorbell: late ack, nothing reserved ahead, JSON only.
CELERY_BROKER_URL = REDIS_URL
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_CREATE_MISSING_QUEUES = True
CELERY_TASK_DEFAULT_QUEUE = "maintenance"
CELERY_BROKER_TRANSPORT_OPTIONS = BROKER_OPTIONS
CELERY_TASK_PUBLISH_RETRY_POLICY = PUBLISH_RETRIES
# The scheduler reads its rows anew when one changed: schedules of the portal need no restart. What
# stands here is written into the same rows at each start.
CELERY_BEAT_SCHEDULER = "bcweb.beat.SteadyScheduler"
CELERY_BEAT_SCHEDULE = beat_schedule(sweep_seconds=BCWEB_SWEEP_SECONDS)

# --- Logs ------------------------------------------------------------------------------------
LOGGING = logging_config(level=LOG_LEVEL, form=LOG_FORMAT)
configure_structlog()
DJANGO_STRUCTLOG_STATUS_4XX_LOG_LEVEL = 20
# The id RequestIdMiddleware has checked or made, so that log, answer and audit name the same one.
DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True
