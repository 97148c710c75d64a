"""What all profiles share. Values come from the environment through ``voiceagent.env``; every mistake is reported."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from django.utils.csp import CSP

from voiceagent.bootstrap import BASE_DIR
from voiceagent.conf import house_conf
from voiceagent.database import database
from voiceagent.env import Env
from voiceagent.logs import logging_conf

_env = Env(os.environ)
_conf = house_conf(_env)
_calls, _site = _conf.calls, _conf.site
#: The memory's MCP server: ``memory.conf.McpConf``.
MCP = _conf.mcp
#: Where traces go: ``voiceagent.conf.TelemetryConf``; nothing where they are off.
TELEMETRY = _conf.telemetry
_env.check()
#: Values that no log line and no page may show.
SECRETS = frozenset(_env.secrets)
DATABASES = {"default": database(_site.database_url, _site.database_pool_size)}

SECRET_KEY = _site.secret_key
#: Keys the hash by which a caller's number is looked up: changing it makes every caller a stranger.
CALLER_HASH_KEY = _site.caller_hash_key
#: Seal the keys of callers' memories: without them nothing remembered can be read.
MEMORY_KEYS = _site.memory_keys
#: The local embedding of every remembered row, by its name in ``memory.embedding.registry``.
LOCAL_EMBEDDING_MODEL = _site.local_embedding_model
#: The model of the second vector, for searches outside calls; empty: none.
OPENAI_EMBEDDING_MODEL = _site.openai_embedding_model
#: Reads a conversation for what is worth remembering, beside the rules; empty: the rules alone.
OPENAI_DISTIL_MODEL = _site.openai_distil_model
#: Where agents' own phrases are rendered: ``calls.conf.CartesiaConf``.
CARTESIA = _calls.cartesia
OPENAI_API_KEY = _calls.openai.api_key
OPENAI_BASE_URL = _calls.openai.base_url
DEBUG = _site.debug
#: What the console's header calls this installation.
ENVIRONMENT = _site.environment
#: Where traces are looked at, with a place for the id; empty: nowhere that could be linked to.
TRACE_URL_TEMPLATE = _site.trace_url_template
#: What is paid for in a call, in what: ``voiceagent.conf.PRICED``. Without prices no costs are told.
CALL_PRICES = _site.call_prices
PRICE_CURRENCY = _site.price_currency
#: How long a call that has ended stays on the live board, in seconds.
BOARD_LINGER_S = 30
#: How often the transcript of a call that somebody has open there is looked at, in milliseconds.
BOARD_DRAWER_MS = 250
#: Shown by scrapers from outside; empty: there are none.
METRICS_TOKEN = _site.metrics_token
DATA_DIR = _calls.data_dir
REDIS_URL = _calls.redis_url
PUBLIC_BASE_URL = _calls.twilio.public_base_url
ALLOWED_HOSTS = [*_site.allowed_hosts, urlsplit(PUBLIC_BASE_URL).hostname or ""]
CSRF_TRUSTED_ORIGINS = [PUBLIC_BASE_URL] if PUBLIC_BASE_URL.startswith("https://") else []

INSTALLED_APPS = [
    "daphne",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "servestatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "channels",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "django_prometheus",
    "memory",
    "calls",
    "voiceagent.console",
    "voiceagent",
]
MIDDLEWARE = [
    "voiceagent.httpmetrics.BeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "servestatic.middleware.ServeStaticMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "voiceagent.secondfactor.SecondFactorMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "voiceagent.httpmetrics.AfterMiddleware",
]
ROOT_URLCONF = "voiceagent.urls"
ASGI_APPLICATION = "voiceagent.asgi.application"
TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# In each process: nothing that must be shared may be kept in it. Counted by django-prometheus.
CACHES = {"default": {"BACKEND": "django_prometheus.cache.backends.locmem.LocMemCache"}}
CELERY_BROKER_URL = REDIS_URL
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "voiceagent.layer.ChannelLayer",
        # For operators' updates and control only: what is over capacity is dropped, so nothing here may be a fact.
        "CONFIG": {"hosts": [REDIS_URL], "prefix": "channels", "capacity": 500, "expiry": 60},
    },
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
AUTHENTICATION_BACKENDS = ["voiceagent.login.LimitedBackend"]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "console:board"
#: A code of an app after the password, for everybody who signs in.
TWO_FACTORS = _site.two_factors
OTP_TOTP_ISSUER = "Voice agent"
#: The admin shows no key of anybody's app.
OTP_ADMIN_HIDE_SENSITIVE_DATA = True
#: A working day: who comes back tomorrow logs in again.
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
#: No page asks the browser for any of these, but those of the console that are marked for its microphone.
PERMISSIONS_POLICY: dict[str, list[str]] = {
    feature: []
    for feature in (
        "accelerometer", "camera", "display-capture", "encrypted-media", "geolocation", "gyroscope",
        "magnetometer", "microphone", "midi", "payment", "usb",
    )
}  # fmt: skip
SECURE_CSP = {
    "default-src": [CSP.SELF],
    "script-src": [CSP.SELF, CSP.NONCE],
    "style-src": [CSP.SELF, CSP.NONCE],
    "img-src": [CSP.SELF, "data:"],
    "media-src": [CSP.SELF, "blob:"],
    "connect-src": [CSP.SELF],
    "object-src": [CSP.NONE],
    "base-uri": [CSP.NONE],
    "form-action": [CSP.SELF],
    "frame-ancestors": [CSP.NONE],
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STATIC_URL = "/static/"
STATIC_ROOT = _site.static_root
STATICFILES_DIRS = [path for path in [BASE_DIR / "static"] if path.is_dir()]

LOGGING_CONFIG = "voiceagent.logs.configure"
#: Callers' words and numbers in the logs: off unless somebody decided otherwise.
LOG_PII = _site.log_pii
LOGGING = logging_conf(level=_site.log_level, style=_site.log_format, with_pii=_site.log_pii, secrets=SECRETS)
DEFAULT_EXCEPTION_REPORTER = "voiceagent.hiding.PageReporter"
