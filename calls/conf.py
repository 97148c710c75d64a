"""What one call needs to know of its surroundings, as frozen values.

Built once by ``voiceagent.conf`` from the environment and handed down; nothing in ``calls`` reads the
environment or Django's settings for its configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CartesiaConf:
    """Where speech recognition and the voice are, and how they are asked.

    ``base_url`` is an ``http(s)://`` address without a path; ``http`` means plain sockets too. ``stt_join_ms``: the
    caller's frames are put together to this length before they are sent; 0 passes each on as it comes.
    """

    api_key: str = field(repr=False)
    base_url: str = "https://api.cartesia.ai"
    stt_model: str = "ink-2"
    stt_manual_model: str = "ink-whisper"
    stt_batch_model: str = "ink-whisper"
    tts_model: str = "sonic-3.5"
    stt_join_ms: int = 0
    connect_timeout_ms: int = 2000


@dataclass(frozen=True, slots=True)
class OpenAIConf:
    """Where the language model is. ``base_url`` ends in ``/v1``. ``api`` is ``chat`` or ``responses``. ``fallback``: the second
    model, asked where the first one fails."""

    api_key: str = field(repr=False)
    base_url: str = "https://api.openai.com/v1"
    model: str = "gpt-6-luna"
    api: str = "chat"
    max_output_tokens: int = 400
    connect_timeout_ms: int = 2000
    read_timeout_ms: int = 8000
    fallback: OpenAIConf | None = None


@dataclass(frozen=True, slots=True)
class TwilioConf:
    """The carrier's account. ``public_base_url`` is what the carrier calls: signatures and the stream's address come from it."""

    account_sid: str
    auth_token: str = field(repr=False)
    public_base_url: str
    api_base_url: str = "https://api.twilio.com"
    request_timeout_ms: int = 5000
    token_ttl_s: int = 60

    @property
    def stream_url(self) -> str:
        """The ``<Stream url>``: the public address with ``ws`` for ``http``, path ``/twilio/stream``, no query."""
        scheme, rest = self.public_base_url.split("://", 1)
        return f"{'wss' if scheme == 'https' else 'ws'}://{rest.rstrip('/')}/twilio/stream"


@dataclass(frozen=True, slots=True)
class LimitsConf:
    """Bounds of one process. ``recall_ms``: how long an answer waits for what its caller's memory may add to it.
    ``overload_lag_ms``: how late a process may be with its calls, for seconds, and still take new ones; 0: however late.
    ``calls_per_number`` and ``unsigned_per_minute`` are of a minute and of all processes together; 0: no bound.
    """

    max_calls: int = 50
    start_deadline_ms: int = 5000
    media_silence_ms: int = 8000
    max_message_bytes: int = 65536
    recall_ms: int = 30
    calls_per_number: int = 0
    unsigned_per_minute: int = 0
    overload_lag_ms: int = 0


@dataclass(frozen=True, slots=True)
class TraceConf:
    """What is kept. ``share`` of all calls and requests, 0 to 1; ``slow_turn_ms``: a call with a turn that answered later
    is kept; ``with_words``: what callers and agents said, and what tools were given, goes into the spans."""

    share: float = 1.0
    slow_turn_ms: int = 1500
    with_words: bool = False


@dataclass(frozen=True, slots=True)
class CallsConf:
    """Everything, in one value. ``check_share``: the share of calls (0 to 1) whose invariants are watched."""

    cartesia: CartesiaConf
    openai: OpenAIConf
    twilio: TwilioConf
    redis_url: str = field(repr=False)
    data_dir: str
    limits: LimitsConf = LimitsConf()
    check_share: float = 1.0
