"""``opentelemetry-instrumentation-django``, for the event loop. What a request's span is called and holds is the package's, but
for the name, which begins with a slash as addresses do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.django.middleware.otel_middleware import _DjangoMiddleware

from voiceagent.inplace import InPlaceWithView

_Steps: Any = _DjangoMiddleware  # its methods have no types

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponseBase

#: Requests that are none of anybody's business: probes, scrapes, files. Searched in whole addresses.
QUIET = r"/healthz$,/readyz$,/metrics$,^\w+://[^/]+/static/"


class _Traced(_Steps):  # type: ignore[misc]
    @staticmethod
    def _get_span_name(request: HttpRequest) -> str:
        method, _, route = str(_Steps._get_span_name(request)).partition(" ")
        return f"{method} /{route}" if route else method


class TracedRequests(InPlaceWithView):
    """A span for each request that is not ``QUIET``, over all that Django does for it."""

    package = _Traced

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        try:
            return await super()._later(request)
        except BaseException as error:  # cancelled: whoever asked has gone
            activation = request.META.pop(_Traced._environ_activation_key, None)
            if activation is not None:
                activation.__exit__(type(error), error, error.__traceback__)
            raise


class Requests(DjangoInstrumentor):
    """The package's instrumentor with this middleware. Takes hold of handlers that are made while it is on."""

    _opentelemetry_middleware = f"{TracedRequests.__module__}.{TracedRequests.__qualname__}"

    def instrument(self, **kwargs: Any) -> None:
        """See ``DjangoInstrumentor``."""
        super().instrument(excluded_urls=QUIET, middleware_position=1, **kwargs)  # after the one that takes the time
