"""``opentelemetry-instrumentation-django``, for the event loop: Django would send each of its steps to a thread.

Its steps neither wait nor read, so they are run where the request is. What a request's span is called and holds is the
package's, but for the name, which begins with a slash as addresses do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.django.middleware.otel_middleware import _DjangoMiddleware

_Steps: Any = _DjangoMiddleware  # its methods have no types

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest, HttpResponseBase

#: Requests that are none of anybody's business: probes, scrapes, files. Searched in whole addresses.
QUIET = r"/healthz$,/readyz$,/metrics$,^\w+://[^/]+/static/"


class _Traced(_Steps):  # type: ignore[misc]
    @staticmethod
    def _get_span_name(request: HttpRequest) -> str:
        method, _, route = str(_Steps._get_span_name(request)).partition(" ")
        return f"{method} /{route}" if route else method


class TracedRequests:
    """A span for each request that is not ``QUIET``, over all that Django does for it."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._steps = _Traced(get_response)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        self._steps.process_request(request)
        return self._later(request) if self._is_async else self._done(request, self._get_response(request))

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """A view raised."""
        self._steps.process_exception(request, exception)

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        try:
            response = await self._get_response(request)
        except BaseException as error:  # cancelled: whoever asked has gone
            activation = request.META.pop(_Traced._environ_activation_key, None)
            if activation is not None:
                activation.__exit__(type(error), error, error.__traceback__)
            raise
        return self._done(request, response)

    def _done(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if request.resolver_match is not None:
            self._steps.process_view(request, None)  # here, since as a step of its own it would cost a thread
        answer: HttpResponseBase = self._steps.process_response(request, response)
        return answer


class Requests(DjangoInstrumentor):
    """The package's instrumentor with this middleware. Takes hold of handlers that are made while it is on."""

    _opentelemetry_middleware = f"{TracedRequests.__module__}.{TracedRequests.__qualname__}"

    def instrument(self, **kwargs: Any) -> None:
        """See ``DjangoInstrumentor``."""
        super().instrument(excluded_urls=QUIET, middleware_position=1, **kwargs)  # after the one that takes the time
