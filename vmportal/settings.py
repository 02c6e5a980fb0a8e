"""Settings, all from the environment; docs/configuration.md names them."""

from pathlib import Path
from urllib.parse import urlsplit

import django_stubs_ext
import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from vmportal import environment as read
from vmportal.admin_theme import UNFOLD as UNFOLD  # the setting of that name
from vmportal.production import Exposure, unsafe_settings, webhook_problems

BASE = Path(__file__).resolve().parent.parent
env = environ.Env()
# Lets classes that are generic to the type checker alone, such as ModelAdmin[User], be written at run time too.
django_stubs_ext.monkeypatch()

# --- this installation -----------------------------------------------------------------------------------------
VAR = Path(env.str("VMPORTAL_VAR", default=str(BASE / "var"))).resolve()
DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or read.read_line(VAR / "secrets" / "secret_key")
INSTALLATION_ID = read.installation_id(
    env.str("VMPORTAL_INSTALLATION", default="") or read.read_line(VAR / "installation", read.UNKNOWN_INSTALLATION)
)
LISTEN = env.str("VMPORTAL_LISTEN", default="127.0.0.1")
PUBLIC_URL = env.str("VMPORTAL_PUBLIC_URL", default="http://127.0.0.1:8000").rstrip("/")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["127.0.0.1", "localhost", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
# Where the gateway of the consoles listens, `unix:/path` or `host:port`: for the web process, not for people.
GATEWAY_ADDRESS = env.str("VMPORTAL_GATEWAY", default=f"unix:{VAR / 'run' / 'gateway.sock'}")
IMAGE_STORE = Path(env.str("VMPORTAL_IMAGE_STORE", default=str(VAR / "images")))
# What may become an image: the file's size, the size of its disk, and from which networks beside the public ones it
# may be fetched.
IMAGE_IMPORT_MAX_GIB = env.int("VMPORTAL_IMAGE_IMPORT_MAX_GIB", default=20)
IMAGE_IMPORT_MAX_DISK_GIB = env.int("VMPORTAL_IMAGE_IMPORT_MAX_DISK_GIB", default=200)
IMAGE_IMPORT_ALLOWED_NETWORKS: list[str] = env.list("VMPORTAL_IMAGE_IMPORT_ALLOWED_NETWORKS", default=[])
# An upload in one form, without the script that sends it in pieces.
IMAGE_PLAIN_UPLOAD_MAX_MIB = env.int("VMPORTAL_IMAGE_PLAIN_UPLOAD_MAX_MIB", default=1024)
PROTECTED_ADDRESSES: list[str] = env.list("VMPORTAL_PROTECTED_ADDRESSES", default=read.own_addresses())

# --- the API ---------------------------------------------------------------------------------------------------
# The private networks in which projects' webhooks, those of budgets too, may be.
WEBHOOK_ALLOWED_NETWORKS: list[str] = env.list("VMPORTAL_WEBHOOK_ALLOWED_NETWORKS", default=[])
API_CALLS_PER_MINUTE = env.int("VMPORTAL_API_CALLS_PER_MINUTE", default=600)  # of one token

# --- the pace of the machinery ---------------------------------------------------------------------------------
OPERATION_LEASE_SECONDS = env.int("VMPORTAL_OPERATION_LEASE_SECONDS", default=30)
SWEEP_SECONDS = env.int("VMPORTAL_SWEEP_SECONDS", default=3)
HOST_LEASE_SECONDS = env.float("VMPORTAL_HOST_LEASE_SECONDS", default=15.0)
RECONCILE_SECONDS = env.int("VMPORTAL_RECONCILE_SECONDS", default=30)
# How long what a person told to delete is kept on its host: until then the choice can be withdrawn.
FINDING_QUARANTINE_DAYS = env.int("VMPORTAL_FINDING_QUARANTINE_DAYS", default=7)
WORKER_THREADS = env.int("VMPORTAL_WORKER_THREADS", default=16)
# Simultaneous hypervisor calls to one host from one worker: a hung host takes no more threads than this.
HOST_CALLS_MAX = env.int("VMPORTAL_HOST_CALLS_MAX", default=4)

# Switches one protection off each ("fencing", "leases", "undo"), so that tests can show that they would notice.
UNSAFE_TEST_SWITCHES = frozenset(env.list("VMPORTAL_UNSAFE_TEST_SWITCHES", default=[]))

# --- transport and cookies -------------------------------------------------------------------------------------
ALLOW_HTTP = env.bool("VMPORTAL_ALLOW_HTTP", default=False)
TLS_AT_PROXY = env.bool("VMPORTAL_TLS_PROXY", default=False)
_https = urlsplit(PUBLIC_URL).scheme == "https"
if TLS_AT_PROXY:
    # Only behind a proxy that sets this header itself; otherwise any client could claim to be on TLS.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
# Installations on one machine share a host name, and cookies know no ports.
SESSION_COOKIE_NAME = f"vmportal_{INSTALLATION_ID}_session"
CSRF_COOKIE_NAME = f"vmportal_{INSTALLATION_ID}_csrf"
LANGUAGE_COOKIE_NAME = "vmportal_language"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 14 * 24 * 3600
SECURE_HSTS_SECONDS = env.int("VMPORTAL_HSTS_SECONDS", default=30 * 24 * 3600 if _https else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = False
SECURE_SSL_REDIRECT = _https and env.bool("VMPORTAL_SSL_REDIRECT", default=True)
SECURE_REDIRECT_EXEMPT = [r"^healthz$"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# Cookies and redirects follow the address that the operator gave; over plain http on loopback these cannot be on,
# and the deployment check's other two are decisions about other people's subdomains.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
if not _https:
    SILENCED_SYSTEM_CHECKS += ["security.W004", "security.W008", "security.W012", "security.W016"]

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],  # same-origin websockets are included
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    },
}

# --- applications ----------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "vmportal.admin_config.OperatorAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "channels",
    "django_celery_beat",
    "django_htmx",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "csp",
    "lucide",
    "lifecycle",
    "vmportal",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "lifecycle.web.middleware.OriginMiddleware",
    "lifecycle.web.middleware.UserPreferencesMiddleware",
    "lifecycle.web.middleware.OneTimePasswordMiddleware",
]
ROOT_URLCONF = "vmportal.urls"
ASGI_APPLICATION = "vmportal.asgi.application"
WSGI_APPLICATION = None
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "lifecycle.web.context.portal",
            ],
        },
    },
]

# --- data ------------------------------------------------------------------------------------------------------
DATABASES = {"default": read.with_database_defaults(env.db("DATABASE_URL", default=f"sqlite:///{VAR / 'db.sqlite3'}"))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# In the database, so that pages and their rate limits work while Redis is down.
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "vmportal_cache"},
}
SESSION_ENGINE = "django.contrib.sessions.backends.db"
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 * 1024 * 1024  # bytes; user data of a VM is far smaller

# --- people ----------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "lifecycle.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "lifecycle.web.accounts.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if _https else "http"
# Ten wrong passwords for one account, or thirty tries from one address, in the time given.
ACCOUNT_RATE_LIMITS = {"login": "30/m/ip", "login_failed": "10/m/ip,5/5m/key"}
# A second factor is everybody's own choice: an authenticator app with recovery codes, or a passkey.
MFA_ADAPTER = "lifecycle.web.mfa.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = env.str("VMPORTAL_TOTP_ISSUER", default="vmportal")
# Addresses are not verified (accounts come by invitation), and a second factor must not wait for that.
MFA_ALLOW_UNVERIFIED_EMAIL = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not _https  # browsers allow it on this machine alone
# Sign-in by the organisation's own identity provider; none unless it is named.
OIDC_URL = env.str("VMPORTAL_OIDC_URL", default="")
OIDC_SIGNUP = env.bool("VMPORTAL_OIDC_SIGNUP", default=False)
SOCIALACCOUNT_ADAPTER = "lifecycle.web.accounts.SocialAccountAdapter"
SOCIALACCOUNT_LOGIN_ON_GET = False
SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": read.oidc_apps(env, OIDC_URL)}}
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if TLS_AT_PROXY else 0

# --- mail ------------------------------------------------------------------------------------------------------
_mail_url = env.str("EMAIL_URL", default="")
MAIL_ENABLED = bool(_mail_url)
if MAIL_ENABLED:
    _mail = env.email_url_config(_mail_url)
    EMAIL_BACKEND = _mail["EMAIL_BACKEND"]
    EMAIL_HOST, EMAIL_PORT = _mail.get("EMAIL_HOST", ""), _mail.get("EMAIL_PORT") or 25
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail.get("EMAIL_HOST_USER") or "", _mail.get("EMAIL_HOST_PASSWORD") or ""
    EMAIL_USE_TLS, EMAIL_USE_SSL = bool(_mail.get("EMAIL_USE_TLS")), bool(_mail.get("EMAIL_USE_SSL"))
else:
    EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="vmportal@localhost")

# --- alerts to the operators -----------------------------------------------------------------------------------
ALERT_EMAILS: list[str] = env.list("ALERT_EMAILS", default=[])
ALERT_WEBHOOK_URL = env.str("ALERT_WEBHOOK_URL", default="")
ALERT_WEBHOOK_SECRET = env.str("ALERT_WEBHOOK_SECRET", default="")
if _webhook_problems := webhook_problems(ALERT_WEBHOOK_URL, ALERT_WEBHOOK_SECRET):
    raise ImproperlyConfigured("Unsafe settings:\n  - " + "\n  - ".join(_webhook_problems))

# --- payment by card, off without both ------------------------------------------------------------------------------
STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", default="")
STRIPE_WEBHOOK_SECRET = env.str("STRIPE_WEBHOOK_SECRET", default="")
STRIPE_API = env.str("STRIPE_API", default="")  # Stripe's own address when empty

# --- metrics and traces, for the operators' own monitoring ------------------------------------------------------
METRICS_TOKEN = env.str("VMPORTAL_METRICS_TOKEN", default="")
if METRICS_TOKEN and len(METRICS_TOKEN) < 24:
    raise ImproperlyConfigured("VMPORTAL_METRICS_TOKEN is too short to be a secret: give at least 24 characters.")

# Where spans go, such as http://127.0.0.1:4318/v1/traces; empty: none are made, and OpenTelemetry is not imported.
TRACES_URL = env.str("VMPORTAL_TRACES_URL", default="")
if TRACES_URL and urlsplit(TRACES_URL).scheme not in {"http", "https"}:
    raise ImproperlyConfigured("VMPORTAL_TRACES_URL must be the http(s) address of an OTLP receiver.")
if TRACES_URL:
    MIDDLEWARE.insert(0, "lifecycle.web.middleware.TraceMiddleware")

# --- how long rows are kept that nobody needs any more, in days ------------------------------------------------
KEEP_EVENTS_DAYS = env.int("VMPORTAL_KEEP_EVENTS_DAYS", default=14)
KEEP_STEPS_DAYS = env.int("VMPORTAL_KEEP_STEPS_DAYS", default=90)
KEEP_SERIAL_DAYS = env.int("VMPORTAL_KEEP_SERIAL_DAYS", default=90)
KEEP_USAGE_DAYS = env.int("VMPORTAL_KEEP_USAGE_DAYS", default=2)
KEEP_USAGE_HOURS_DAYS = env.int("VMPORTAL_KEEP_USAGE_HOURS_DAYS", default=40)
KEEP_NOTIFICATIONS_DAYS = env.int("VMPORTAL_KEEP_NOTIFICATIONS_DAYS", default=90)
KEEP_AUDIT_DAYS = env.int("VMPORTAL_KEEP_AUDIT_DAYS", default=400)
KEEP_CLOSED_DAYS = env.int("VMPORTAL_KEEP_CLOSED_DAYS", default=180)

# --- languages and files ---------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("fr", _("French"))]
LOCALE_PATHS = [BASE / "locale"]
USE_I18N = USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", default="UTC")
STATIC_URL = "/static/"
STATIC_ROOT = VAR / "static"
STATICFILES_DIRS = [path for path in (BASE / "static",) if path.is_dir()]
# The libraries of package-lock.json; vmportal/static.py says which of their files are served.
NODE_MODULES = Path(env.str("VMPORTAL_NODE_MODULES", default=str(VAR / "browser" / "node_modules")))
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "vmportal.static.LibraryFinder",
]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "vmportal.static.ManifestStorage"},
}
MEDIA_ROOT = VAR / "media"

# --- Redis: the bell of the workers and the pushes, never the truth --------------------------------------------
REDIS_URL = env.str("REDIS_URL", default=f"unix://{VAR / 'run' / 'redis.sock'}")
# Short: a request that rings a dead Redis goes on within a second, and the sweep finds the work.
REDIS_TIMEOUT_SECONDS = 1.0
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            "hosts": [
                {
                    "address": read.channels_redis(REDIS_URL),
                    "socket_connect_timeout": REDIS_TIMEOUT_SECONDS,
                    # Longer than the 5 s for which channels-redis lets Redis wait for a message: redis-py's default
                    # of 5 s makes every quiet 5 s look like a failure.
                    "socket_timeout": 10.0,
                }
            ],
            "prefix": f"vmportal-{INSTALLATION_ID}",
            "capacity": 1000,
            "expiry": 60,
        },
    },
}
CELERY_BROKER_URL = read.celery_broker(REDIS_URL)
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "socket_connect_timeout": REDIS_TIMEOUT_SECONDS,
    "socket_timeout": 5.0,
    "retry_on_timeout": False,
    "max_retries": 1,
    "interval_start": 0,  # the second try at once: a request does not sleep two seconds for a dead Redis
    "global_keyprefix": f"vmportal-{INSTALLATION_ID}:",
    "visibility_timeout": 3600,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "periodic"
CELERY_TASK_ROUTES = {
    "lifecycle.run_operation": {"queue": "operations"},
    # What waits for a host: one that hangs delays neither operations nor the rounds.
    "lifecycle.reconcile_host": {"queue": "reconcile"},
    "lifecycle.verify_images_of": {"queue": "reconcile"},
}
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
DJANGO_CELERY_BEAT_TZ_AWARE = True

# --- logs: to the process's own output, which the supervisor keeps ---------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django.request": {"level": "ERROR"},
        "fontTools": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "weasyprint": {"level": "WARNING"},
    },
}

# --- refuse what is unsafe -------------------------------------------------------------------------------------
# Tests and type checks give their own key; every other start of a production process is looked at.
if not DEBUG:
    _problems = unsafe_settings(
        Exposure(
            secret_key=SECRET_KEY,
            allowed_hosts=ALLOWED_HOSTS,
            trusted_origins=CSRF_TRUSTED_ORIGINS,
            public_url=PUBLIC_URL,
            listen=LISTEN,
            allow_plain_http=ALLOW_HTTP,
            tls_at_proxy=TLS_AT_PROXY,
            test_switches=UNSAFE_TEST_SWITCHES,
        )
    )
    if _problems:
        raise ImproperlyConfigured("Unsafe settings:\n  - " + "\n  - ".join(_problems))
