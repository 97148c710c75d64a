"""Which traces are kept, and when that is decided.

A share of all calls is kept (a function of the trace's id: every process says the same). Of the others the spans are held
in this process until the call's end, bounded, and kept if a turn was slow or anything failed; else they are let go of.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Link, TraceState
    from opentelemetry.util.types import Attributes

    from calls.conf import TraceConf

#: Bounds of what is held: spans of one call, calls that have rung and not begun, traces remembered as let go of.
MOST_SPANS = 2000
MOST_RINGING = 500
MOST_LET_GO = 2000


class Keeper(SpanProcessor):
    """Holds the spans of calls that are not decided, passes on what is kept. ``passed_on`` must not block.

    For the loop's thread and for others: each step is one operation of a dict or list.
    """

    def __init__(self, conf: TraceConf, passed_on: Callable[[ReadableSpan], None]) -> None:
        self._ratio = TraceIdRatioBased(conf.share)
        self._passed_on = passed_on
        self._ringing: OrderedDict[int, list[ReadableSpan]] = OrderedDict()
        self._calls: dict[int, list[ReadableSpan]] = {}
        self._let_go: OrderedDict[int, None] = OrderedDict()
        #: Spans that did not fit.
        self.overflown = 0

    def is_sampled(self, trace_id: int) -> bool:
        """Whether this trace belongs to the share that is kept whatever happens in it."""
        return self._ratio.should_sample(None, trace_id, "").decision is Decision.RECORD_AND_SAMPLE

    @property
    def held(self) -> int:
        """Spans held by now."""
        return sum(map(len, [*self._ringing.values(), *self._calls.values()]))

    def ring(self, trace_id: int) -> None:
        """A call was announced: hold what is known of it. The oldest announcement that came to nothing makes room."""
        self._ringing.setdefault(trace_id, [])
        while len(self._ringing) > MOST_RINGING:
            self._forget(self._ringing.popitem(last=False)[0])

    def begin(self, trace_id: int) -> None:
        """The call is in this process: hold its spans until ``settle``."""
        if not self.is_sampled(trace_id):
            self._calls[trace_id] = self._ringing.pop(trace_id, [])

    def settle(self, trace_id: int, keep: bool) -> None:
        """It is decided, for what is held and for what is still to come."""
        held = self._calls.pop(trace_id, None) or self._ringing.pop(trace_id, [])
        if keep:
            for span in held:
                self._passed_on(span)
        elif not self.is_sampled(trace_id):
            self._forget(trace_id)

    def on_end(self, span: ReadableSpan) -> None:
        """See ``SpanProcessor``."""
        context = span.context
        if context is None or not context.trace_flags.sampled:
            return
        held = self._calls.get(context.trace_id)
        if held is None:
            held = self._ringing.get(context.trace_id)
        if held is not None:
            if len(held) < MOST_SPANS:
                held.append(span)
            else:
                self.overflown += 1
        elif context.trace_id not in self._let_go:
            self._passed_on(span)

    def _forget(self, trace_id: int) -> None:
        self._let_go[trace_id] = None
        while len(self._let_go) > MOST_LET_GO:
            self._let_go.popitem(last=False)


class CallSampler(Sampler):
    """What is recorded: requests of the share, the requests that announce calls, and whatever belongs to one of those.

    What has no parent and is no request is not: the log's writer asks Redis 25 times a second. ``announces`` says of a
    request's path that a call may follow.
    """

    def __init__(self, keeper: Keeper, announces: Callable[[str], bool]) -> None:
        self._keeper = keeper
        self._announces = announces

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """See ``Sampler``."""
        parent = trace.get_current_span(parent_context).get_span_context()
        if parent.is_valid:
            recorded = parent.trace_flags.sampled
        elif kind is not SpanKind.SERVER:
            recorded = False
        elif self._keeper.is_sampled(trace_id):
            recorded = True
        elif recorded := self._announces(str((attributes or {}).get("url.path", ""))):
            self._keeper.ring(trace_id)
        if recorded:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return SamplingResult(Decision.DROP)

    def get_description(self) -> str:
        """See ``Sampler``."""
        return "CallSampler"
