"""Reads the environment into frozen values: what calls need, and what the house itself needs.

Every reader collects mistakes in the ``Env`` it is given; whoever calls one ends with ``env.check()``. ``house_conf``
calls them all, so that one start reports every mistake.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import combinations
from math import inf
from pathlib import Path
from types import MappingProxyType
from urllib.parse import unquote

from calls.conf import CallsConf, CartesiaConf, LimitsConf, OpenAIConf, TraceConf, TwilioConf
from memory.conf import ALGORITHMS, JwtConf, McpConf
from memory.embedding.registry import LOCAL_NAMES
from voiceagent.bootstrap import BASE_DIR
from voiceagent.database import database_url
from voiceagent.env import Env

#: Every variable that decides which outside party is talked to, and with which secret. Tests drop them all.
OUTSIDE_NAMES = (
    "CARTESIA_API_KEY",
    "CARTESIA_BASE_URL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OPENAI_MODEL",
    "OPENAI_EMBEDDING_MODEL",
    "OPENAI_DISTIL_MODEL",
    "OPENAI_API",
    "OPENAI_FALLBACK_MODEL",
    "OPENAI_FALLBACK_BASE_URL",
    "OPENAI_FALLBACK_API_KEY",
    "TWILIO_ACCOUNT_SID",
    "TWILIO_AUTH_TOKEN",
    "TWILIO_API_BASE_URL",
    "PUBLIC_BASE_URL",
    "DATABASE_URL",
    "REDIS_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "SECRET_KEY",
    "CALLER_HASH_KEY",
    "MEMORY_KEY",
    "MCP_JWT_ISSUER",
    "MCP_JWT_JWKS_URL",
    "MCP_JWT_AUDIENCE",
    "MCP_JWT_ALGORITHMS",
    "MCP_JWT_CALLERS_CLAIM",
)

DEFAULT_PORT = 8000
DEFAULT_WORKER_METRICS_PORT = 9808
DEFAULT_SCHEDULER_METRICS_PORT = 9809
DEFAULT_MODEL = "gpt-6-luna"
#: A shorter secret could be guessed, and with it every caller's key.
MEMORY_KEY_LENGTH = 32
#: What a stop takes beyond DRAIN_SECONDS: a call's last words and the carrier's confirmation, then requests and records.
CLOSING_S = 12
LAST_WORK_S = 8
#: Stands in ``TRACE_URL_TEMPLATE`` for the id of a trace.
TRACE_ID = "{trace_id}"
#: What can have a price in ``CALL_PRICES``: what the price is of, and how many of the units that are counted that is.
PRICED: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "model_input": ("a million tokens that were not cached", 1_000_000),
        "model_cached": ("a million cached tokens", 1_000_000),
        "model_output": ("a million tokens written", 1_000_000),
        "voice": ("a million characters spoken", 1_000_000),
        "recognition": ("an hour of sound", 3_600_000),
        "line": ("a minute on the line", 60_000),
    }
)
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


@dataclass(frozen=True, slots=True)
class SiteConf:
    """What Django, the web server and the supervisor are told."""

    secret_key: str = field(repr=False)
    caller_hash_key: str = field(repr=False)
    memory_keys: tuple[str, ...] = field(repr=False)
    database_url: str = field(repr=False)
    database_pool_size: int
    environment: str
    two_factors: bool
    debug: bool
    bind_host: str
    port: int
    metrics_host: str
    worker_metrics_port: int
    scheduler_metrics_port: int
    drain_s: int
    allowed_hosts: tuple[str, ...]
    trusted_proxies: tuple[str, ...]
    metrics_token: str = field(repr=False)
    static_root: Path
    log_level: str
    log_format: str
    log_pii: bool
    local_embedding_model: str
    openai_embedding_model: str
    openai_distil_model: str
    trace_url_template: str
    call_prices: Mapping[str, float]
    price_currency: str

    @property
    def stop_s(self) -> int:
        """How long a web process may take from SIGTERM to its end."""
        return self.drain_s + CLOSING_S + LAST_WORK_S


@dataclass(frozen=True, slots=True)
class TelemetryConf:
    """Where traces go and what is kept of them. ``traces_url`` is the whole address that is posted to."""

    traces_url: str
    headers: dict[str, str] = field(repr=False)
    service_name: str
    traces: TraceConf


@dataclass(frozen=True, slots=True)
class HouseConf:
    """Everything that is read: a field for each reader."""

    calls: CallsConf
    site: SiteConf
    mcp: McpConf
    telemetry: TelemetryConf | None


def house_conf(env: Env) -> HouseConf:
    """All of the configuration: what the settings use, and so what a start looks at before it starts anything."""
    calls = calls_conf(env)
    return HouseConf(calls, site_conf(env), mcp_conf(env, calls.twilio.public_base_url), telemetry_conf(env))


def site_conf(env: Env) -> SiteConf:
    """The configuration of the house."""
    debug = env.flag("DEBUG", default=False)
    site = SiteConf(
        secret_key=env.secret("SECRET_KEY"),
        caller_hash_key=env.secret("CALLER_HASH_KEY"),
        memory_keys=_memory_keys(env),
        database_url=database_url(env),
        database_pool_size=env.integer("DATABASE_POOL_SIZE", 10, 0, 1000),
        environment=env.word("ENVIRONMENT", "production"),
        two_factors=env.flag("TWO_FACTORS", default=True),
        debug=debug,
        bind_host=env.host("BIND_HOST", "127.0.0.1"),
        port=env.integer("PORT", DEFAULT_PORT, 1, 65535),
        metrics_host=env.host("METRICS_HOST", "127.0.0.1"),
        worker_metrics_port=env.integer("WORKER_METRICS_PORT", DEFAULT_WORKER_METRICS_PORT, 0, 65535),
        scheduler_metrics_port=env.integer("SCHEDULER_METRICS_PORT", DEFAULT_SCHEDULER_METRICS_PORT, 0, 65535),
        drain_s=env.integer("DRAIN_SECONDS", 30, 0, 3600),
        allowed_hosts=tuple(env.words("ALLOWED_HOSTS", [])),
        trusted_proxies=tuple(env.networks("TRUSTED_PROXIES", ["127.0.0.1", "::1"])),
        metrics_token=env.token("METRICS_TOKEN", ""),
        static_root=env.path("STATIC_ROOT", BASE_DIR / "staticfiles"),
        log_level=env.choice("LOG_LEVEL", "INFO", _LOG_LEVELS),
        log_format=env.choice("LOG_FORMAT", "console" if debug else "json", ("json", "console")),
        log_pii=env.flag("LOG_PII", default=False),
        local_embedding_model=env.choice("LOCAL_EMBEDDING_MODEL", "minilm", LOCAL_NAMES),
        openai_embedding_model=env.word("OPENAI_EMBEDDING_MODEL", ""),
        openai_distil_model=_distil_model(env),
        trace_url_template=_trace_url_template(env),
        call_prices=_call_prices(env),
        price_currency=env.word("PRICE_CURRENCY", ""),
    )
    ports = {
        "PORT": site.port,
        "WORKER_METRICS_PORT": site.worker_metrics_port,
        "SCHEDULER_METRICS_PORT": site.scheduler_metrics_port,
    }
    for (name, port), (other, its) in combinations(ports.items(), 2):
        if port and port == its:
            env.refuse(f"{other} must be another port than {name}, which is {port} too")
    return site


def _trace_url_template(env: Env) -> str:
    """Where traces are looked at, with a place for the trace's id."""
    url = env.url("TRACE_URL_TEMPLATE", "", query=True)
    if url and TRACE_ID not in url:
        env.refuse(
            f"TRACE_URL_TEMPLATE must have {TRACE_ID} where the trace's id belongs, as in https://host/trace/{TRACE_ID}"
        )
    return url


def _call_prices(env: Env) -> dict[str, float]:
    """What is paid for, and its price in ``PRICE_CURRENCY``."""
    prices: dict[str, float] = {}
    for word in env.words("CALL_PRICES", []):
        name, _, amount = word.partition("=")
        try:
            price = float(amount)
        except ValueError:
            price = -1.0
        if name not in PRICED or not 0 <= price < inf:
            known = ", ".join(f"{one} ({unit})" for one, (unit, _) in PRICED.items())
            env.refuse(f"CALL_PRICES must be pairs such as model_input=0.25, with commas between, of {known}")
            return {}
        prices[name] = price
    return prices


def _distil_model(env: Env) -> str:
    """The model that reads conversations for facts: the one that answers, unless another is named; ``none``: the rules alone."""
    model = env.word("OPENAI_DISTIL_MODEL", env.word("OPENAI_MODEL", DEFAULT_MODEL))
    return "" if model == "none" else model


def _memory_keys(env: Env) -> tuple[str, ...]:
    """The secrets under which callers' keys are sealed: the newest first, older ones behind it."""
    keys = tuple(key.strip() for key in env.secret("MEMORY_KEY").split(","))
    if any(len(key) < MEMORY_KEY_LENGTH for key in keys if key) or (any(keys) and not all(keys)):
        env.refuse(f"MEMORY_KEY must be secrets of at least {MEMORY_KEY_LENGTH} characters, with commas between")
    return keys


def calls_conf(env: Env) -> CallsConf:
    """The configuration of calls; mistakes are collected in ``env``, the caller does ``env.check()``."""
    return CallsConf(
        cartesia=_cartesia(env),
        openai=_openai(env),
        twilio=_twilio(env),
        redis_url=env.secret_url("REDIS_URL", schemes=("redis", "rediss", "unix")),
        data_dir=str(env.path("DATA_DIR", BASE_DIR / "var")),
        limits=LimitsConf(
            max_calls=env.integer("MAX_CALLS", LimitsConf().max_calls, 1, 10_000),
            overload_lag_ms=env.integer("OVERLOAD_LAG_MS", 250, 0, 60_000),
            calls_per_number=env.integer("CALLS_PER_NUMBER_PER_MINUTE", 60, 0, 100_000),
            unsigned_per_minute=env.integer("UNSIGNED_PER_MINUTE", 60, 0, 100_000),
        ),
        check_share=env.share("CHECK_CALLS_SHARE", 1.0),
    )


def mcp_conf(env: Env, public_base_url: str) -> McpConf:
    """The configuration of the memory's MCP server, which is at ``public_base_url``."""
    conf = McpConf(public_base_url, rate_per_minute=env.integer("MCP_RATE_PER_MINUTE", 120, 1, 100_000))
    jwt = JwtConf(
        issuer=env.text("MCP_JWT_ISSUER", ""),  # to the letter: a slash at the end belongs to it
        jwks_url=env.url("MCP_JWT_JWKS_URL", "", query=True),
        audience=env.text("MCP_JWT_AUDIENCE", conf.resource_url),
        algorithms=tuple(env.words("MCP_JWT_ALGORITHMS", ["RS256", "ES256"])),
        callers_claim=env.text("MCP_JWT_CALLERS_CLAIM", "callers"),
    )
    if bool(jwt.issuer) != bool(jwt.jwks_url):
        env.refuse("MCP_JWT_ISSUER and MCP_JWT_JWKS_URL go together: who issues tokens, and where its keys are")
    if jwt.issuer and not jwt.issuer.startswith(("https://", "http://")):
        env.refuse("MCP_JWT_ISSUER must be an address such as https://host")
    if not set(jwt.algorithms) <= set(ALGORITHMS):
        env.refuse(f"MCP_JWT_ALGORITHMS must be some of {', '.join(ALGORITHMS)}")
    return replace(conf, jwt=jwt) if jwt.issuer else conf


def telemetry_conf(env: Env) -> TelemetryConf | None:
    """The configuration of traces; nothing where no address says where they go."""
    base = env.url("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    traces_url = env.url("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{base}/v1/traces" if base else "", query=True)
    conf = TelemetryConf(
        traces_url=traces_url,
        headers=_headers(env, "OTEL_EXPORTER_OTLP_HEADERS"),
        service_name=env.text("OTEL_SERVICE_NAME", "voiceagent"),
        traces=TraceConf(
            share=env.share("TRACE_CALLS_SHARE", 1.0),
            slow_turn_ms=env.integer("TRACE_SLOW_TURN_MS", TraceConf().slow_turn_ms, 1, 60_000),
            with_words=env.flag("TRACE_PII", default=False),
        ),
    )
    return conf if traces_url else None


def _headers(env: Env, name: str) -> dict[str, str]:
    """``key=value`` pairs with commas between; values may be percent-encoded."""
    pairs = [pair.partition("=") for pair in env.secret(name, "").split(",") if pair.strip()]
    if any(not key.strip() or not is_pair for key, is_pair, _ in pairs):
        env.refuse(f"{name} must be pairs such as api-key=secret, with commas between")
    return {key.strip().lower(): unquote(value.strip()) for key, _, value in pairs}


def known_names() -> set[str]:
    """Every variable that is read, those included that name a secret's file."""
    env = Env({})
    house_conf(env)
    return env.names


@cache
def current() -> CallsConf:
    """The configuration of this process, read once. Raises ``EnvError``."""
    env = Env(os.environ)
    conf = calls_conf(env)
    env.check()
    return conf


def _cartesia(env: Env) -> CartesiaConf:
    return CartesiaConf(
        api_key=env.token("CARTESIA_API_KEY"),
        base_url=env.url("CARTESIA_BASE_URL", "https://api.cartesia.ai", bare=True),
        stt_model=env.word("CARTESIA_STT_MODEL", "ink-2"),
        stt_manual_model=env.word("CARTESIA_STT_MANUAL_MODEL", "ink-whisper"),
        tts_model=env.word("CARTESIA_TTS_MODEL", "sonic-3.5"),
        stt_join_ms=env.integer("CARTESIA_STT_JOIN_MS", 0, 0, 200),
    )


def _openai(env: Env) -> OpenAIConf:
    first = OpenAIConf(
        api_key=env.token("OPENAI_API_KEY"),
        base_url=env.url("OPENAI_BASE_URL", "https://api.openai.com/v1"),
        model=env.word("OPENAI_MODEL", DEFAULT_MODEL),
        api=env.choice("OPENAI_API", "chat", ("chat", "responses")),
    )
    return replace(first, fallback=_second_model(env, first))


def _second_model(env: Env, first: OpenAIConf) -> OpenAIConf | None:
    """The model that answers where the first one fails; at another address only with a key of its own, for a key is for one party."""
    model = env.word("OPENAI_FALLBACK_MODEL", "")
    base_url = env.url("OPENAI_FALLBACK_BASE_URL", "")
    api_key = env.token("OPENAI_FALLBACK_API_KEY", "")
    elsewhere = bool(base_url) and base_url != first.base_url
    if not model:
        if base_url or api_key:
            env.refuse(
                "OPENAI_FALLBACK_MODEL is missing: OPENAI_FALLBACK_BASE_URL and OPENAI_FALLBACK_API_KEY say where it is"
            )
        return None
    if elsewhere and not api_key:
        env.refuse(
            "OPENAI_FALLBACK_API_KEY is missing: OPENAI_API_KEY is not sent to OPENAI_FALLBACK_BASE_URL, which is another address"
        )
    if not elsewhere and model == first.model:
        env.refuse(
            "OPENAI_FALLBACK_MODEL must be another model than OPENAI_MODEL, or be at another OPENAI_FALLBACK_BASE_URL"
        )
    return replace(
        first,
        model=model,
        base_url=base_url or first.base_url,
        api_key=api_key or first.api_key,
        api="chat" if elsewhere else first.api,
    )


def _twilio(env: Env) -> TwilioConf:
    return TwilioConf(
        account_sid=env.shaped(
            "TWILIO_ACCOUNT_SID",
            "AC[0-9a-fA-F]{32}",
            "the account that TWILIO_AUTH_TOKEN belongs to, AC and 32 hexadecimal digits",
        ),
        auth_token=env.secret("TWILIO_AUTH_TOKEN", expected="the token of the account TWILIO_ACCOUNT_SID"),
        public_base_url=env.url("PUBLIC_BASE_URL"),
        api_base_url=env.url("TWILIO_API_BASE_URL", "https://api.twilio.com", bare=True),
    )
