"""What the calls of this process tell the operators' boards: rows, in batches, at most four a second, by one task.

A call pays for an entry in a dictionary. Everything else happens here, beside the calls: what changed goes into a hash in
Redis, which is whole at any time and expires with its process, and to the group of those who look on. Batches are numbered
for each process, so that whoever missed one knows it and reads the hash. A Redis that is away or slow costs batches, never a
call: when it is back, everything is told anew. While nobody looks on, the hash is written once a second and nothing is sent.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog
from redis.exceptions import RedisError

from calls.bus import Bus, StepTaken
from calls.liverow import Identity, LiveRow

if TYPE_CHECKING:
    from redis.asyncio import Redis

_log = structlog.get_logger(__name__)

#: Who looks on is in this group of the channel layer, and says so under this key.
GROUP: Final = "console.board"
MESSAGE: Final = "board.batch"
WATCHED_KEY: Final = "board:watched"
WATCHED_S: Final = 10
_PROCESSES_KEY: Final = "board:processes"
#: What the hash says beside its rows: no call has such an id.
_ABOUT, _LATENCIES, _ERRORS, _VENDORS = b"#", b"#latencies", b"#errors", b"#vendors"

Send = Callable[[str, dict[str, Any]], Awaitable[None]]


def rows_key(process: str) -> str:
    """The hash of a process: its rows by ``call_sid``, and what it says of itself."""
    return f"board:rows:{process}"


@dataclass(frozen=True, slots=True)
class FeedConf:
    """``every_ms``: between two batches; ``idle_ms``: while nothing changes or nobody looks; ``expire_ms``: how long rows
    outlive their process; ``linger_ms``: ended calls; ``patience_s``: how long Redis may take for a batch. ``answers_ms`` and
    ``errors_ms``: for how long latencies and failures are told. ``vendors_ms``: between two tellings of how the vendors fare."""

    every_ms: int = 250
    idle_ms: int = 1_000
    expire_ms: int = 6_000
    linger_ms: int = 30_000
    patience_s: float = 2.0
    answers_ms: int = 5 * 60_000
    errors_ms: int = 15 * 60_000
    vendors_ms: int = 2_000
    most_told: int = 2_000


@dataclass(frozen=True, slots=True)
class Shot:
    """One process as its hash shows it. ``about``: ``number`` of its last batch, ``at``, ``capacity`` and what it says of
    itself; ``latencies`` as ``[at, ms]`` and ``errors`` as ``[at, cause]``, times in Unix milliseconds; ``vendors`` by operation
    (``calls.vendorwaits.Fared``)."""

    process: str
    about: dict[str, Any]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class News:
    """What a batch tells: calls whose rows look new, calls that left, and what was answered and what failed since."""

    rows: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    latencies: list[tuple[int, int]] = field(default_factory=list)
    errors: list[tuple[int, str]] = field(default_factory=list)


class LiveFeed:
    """One for a process. ``about`` says what else there is to tell of it, ``vendors`` how its vendors fared lately; ``send`` is
    the channel layer's ``group_send``."""

    def __init__(
        self,
        redis: Redis,
        send: Send,
        process: str,
        about: Callable[[], Mapping[str, Any]] = dict,
        conf: FeedConf | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        vendors: Callable[[], Mapping[str, Any]] = dict,
    ) -> None:
        self.conf = conf or FeedConf()
        self._redis = redis
        self._send = send
        self._process = process
        self._about = about
        self._vendors = vendors
        self._vendors_at_ms = 0
        self._now_ms = now_ms
        self._rows: dict[str, LiveRow] = {}
        self._changed: dict[str, None] = {}
        self._told: dict[str, bytes] = {}
        self._latencies: deque[tuple[int, int]] = deque(maxlen=self.conf.most_told)
        self._errors: deque[tuple[int, str]] = deque(maxlen=self.conf.most_told)
        self._number = 0
        self._whole = True
        self._watched = False
        self._looked_ms = 0
        self._away = False

    # --- the calls' side --------------------------------------------------------------------------------------------

    def open(self, identity: Identity, bus: Bus) -> None:
        """Show a call that begins, from its first step on."""
        row, call_sid, changed = LiveRow(identity), identity.call_sid, self._changed

        def taken(step: StepTaken, _: StepTaken) -> None:
            row.take(step)
            changed[call_sid] = None

        self._rows[call_sid] = row
        changed[call_sid] = None
        bus.subscribe(StepTaken, taken)

    def close(self, call_sid: str, reason: str) -> None:
        """The call is over, also where no step of it said so. Its row stays for a while."""
        if (row := self._rows.get(call_sid)) is not None:
            row.end(reason, self._now_ms())
            self._changed[call_sid] = None

    # --- the boards' side -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Tell what changed, for ever."""
        while True:
            await asyncio.sleep(self.conf.every_ms / 1000)
            try:
                await self.round()
            except Exception as error:  # noqa: BLE001 - a bug here must not blind the boards for good
                _log.error("board.round_failed", error=type(error).__name__, exc_info=error)
                self._whole = True

    async def round(self) -> bool:
        """Tell once what there is to tell. Whether anything was told."""
        now_ms = self._now_ms()
        resting = now_ms - self._looked_ms < self.conf.idle_ms
        if resting and not (self._changed and self._watched):
            return False
        news = self._news(now_ms, everything=not resting)
        if resting and not news.rows and not news.gone:
            return False
        if not resting:
            self._looked_ms = now_ms
        try:
            async with asyncio.timeout(self.conf.patience_s):
                await self._tell(now_ms, news)
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)
            return False
        if self._away:
            _log.info("board.told_again")
            self._away = False
        return True

    async def _tell(self, now_ms: int, news: News) -> None:
        about = self._next(now_ms)
        if not await self._write(about, news):
            # The hash had expired, or Redis came back empty. Who read it just now finds a number missing, and reads again.
            about = self._next(now_ms)
            self._whole = True
            await self._write(about, news)
        if self._watched:
            await self._send(GROUP, self._batch(about, news))

    def _next(self, now_ms: int) -> dict[str, Any]:
        self._number += 1
        return {"number": self._number, "at": now_ms, **self._about()}

    def _batch(self, about: Mapping[str, Any], news: News) -> dict[str, Any]:
        body = {
            "about": about,
            "rows": [orjson.Fragment(self._told[call_sid]) for call_sid in news.rows],
            "gone": news.gone,
            "latencies": news.latencies,
            "errors": news.errors,
        }
        return {"type": MESSAGE, "process": self._process, "number": self._number, "batch": _encoded(body)}

    async def aclose(self) -> None:
        """The process stops: its rows go with it."""
        about = self._next(self._now_ms()) | {"closed": True}
        try:
            async with asyncio.timeout(self.conf.patience_s):
                await self._redis.delete(rows_key(self._process))
                await self._redis.srem(_PROCESSES_KEY, self._process)
                await self._send(GROUP, self._batch(about, News(gone=list(self._rows))))
        except (RedisError, OSError, TimeoutError) as error:
            self._lost(error)

    def _lost(self, error: BaseException) -> None:
        """This batch is lost, and what was written of it is not known: the next one writes everything."""
        self._whole = True
        if not self._away:
            _log.warning("board.not_told", error=type(error).__name__, calls=len(self._rows))
            self._away = True

    def _news(self, now_ms: int, *, everything: bool) -> News:
        """What looks different than it was told, and whose time is over. ``everything``: time alone changes rows too."""
        over = [sid for sid, row in self._rows.items() if row.is_over and now_ms - row.ended_at >= self.conf.linger_ms]
        latencies, errors = self._sum_up(now_ms)
        for call_sid in over:
            self._forget(call_sid)
        look_at = list(self._rows) if everything else list(self._changed)
        self._changed.clear()
        return News([sid for sid in look_at if self._looks_new(sid, now_ms)], over, latencies, errors)

    def _looks_new(self, call_sid: str, now_ms: int) -> bool:
        told = _encoded(self._rows[call_sid].facts(now_ms))
        if self._told.get(call_sid) == told:
            return False
        self._told[call_sid] = told
        return True

    def _forget(self, call_sid: str) -> None:
        del self._rows[call_sid]
        self._changed.pop(call_sid, None)
        self._told.pop(call_sid, None)

    def _sum_up(self, now_ms: int) -> tuple[list[tuple[int, int]], list[tuple[int, str]]]:
        """What was answered and what failed since the last time; older news is let go of."""
        answers: list[tuple[int, int]] = []
        errors: list[tuple[int, str]] = []
        for row in self._rows.values():
            if not row.identity.is_test:  # whose network is what the operator set it to be
                answers += [(now_ms, latency_ms) for latency_ms in row.latencies_ms]
                errors += [(row.zero_at + failure.at_ms, failure.cause) for failure in row.failures]
            row.latencies_ms.clear()
            row.failures.clear()
        self._latencies += answers
        self._errors += errors
        _let_go(self._latencies, now_ms - self.conf.answers_ms)
        _let_go(self._errors, now_ms - self.conf.errors_ms)
        return answers, errors

    async def _write(self, about: Mapping[str, Any], news: News) -> bool:
        """The hash, in one transaction: whoever reads it finds the rows that belong to its number. ``False``: what was
        written before is no longer there."""
        key, whole = rows_key(self._process), self._whole
        fields: dict[Any, Any] = {_ABOUT: _encoded(about)}
        fields |= self._told if whole else {call_sid: self._told[call_sid] for call_sid in news.rows}
        if whole or news.latencies or news.errors:
            fields |= {_LATENCIES: _encoded(list(self._latencies)), _ERRORS: _encoded(list(self._errors))}
        if whole or about["at"] - self._vendors_at_ms >= self.conf.vendors_ms:
            fields[_VENDORS] = _encoded(self._vendors())
            self._vendors_at_ms = about["at"]
        pipe = self._redis.pipeline(transaction=True)
        pipe.exists(WATCHED_KEY)
        pipe.exists(key)
        if whole:
            pipe.delete(key)
        elif news.gone:
            pipe.hdel(key, *news.gone)
        pipe.hset(key, mapping=fields)
        pipe.pexpire(key, self.conf.expire_ms)
        pipe.sadd(_PROCESSES_KEY, self._process)
        watched, existed, *_ = await pipe.execute()
        self._watched, self._whole = bool(watched), False
        return bool(existed) or whole


async def shots(redis: Redis) -> list[Shot]:
    """All processes that live, as they told of themselves last. Raises ``RedisError`` or ``OSError``."""
    known: set[bytes] = await redis.smembers(_PROCESSES_KEY)  # type: ignore[assignment]  # the client decodes nothing
    names = sorted(name.decode() for name in known)
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.hgetall(rows_key(name))
    found = []
    for name, kept in zip(names, await pipe.execute(), strict=True):
        if kept:
            found.append(_shot(name, kept))
        else:
            await redis.srem(_PROCESSES_KEY, name)  # it died; a process that was only asleep adds itself again
    return found


def _shot(process: str, kept: dict[bytes, bytes]) -> Shot:
    sums = {"latencies": (_LATENCIES, b"[]"), "errors": (_ERRORS, b"[]"), "vendors": (_VENDORS, b"{}")}
    about = orjson.loads(kept.get(_ABOUT, b"{}"))
    about |= {name: orjson.loads(kept.get(key, empty)) for name, (key, empty) in sums.items()}
    # What else begins so is a newer release's, beside which this one runs for a while.
    rows = {key.decode(): orjson.loads(told) for key, told in kept.items() if not key.startswith(_ABOUT)}
    return Shot(process, about, rows)


def _let_go(told: deque[tuple[int, Any]], before_ms: int) -> None:
    while told and told[0][0] < before_ms:
        told.popleft()


def _encoded(value: Any) -> bytes:
    """JSON; half of a surrogate pair, which a vendor may send, becomes a question mark."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False).encode(errors="replace")
