"""The middleware of ``django-prometheus``, for the event loop: Django would send each of its five steps to a thread.

They only count, so they are run where the request is. What is counted, and under which names, is the package's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django_prometheus.middleware import PrometheusAfterMiddleware, PrometheusBeforeMiddleware

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest, HttpResponseBase


class _Metered:
    """Runs the steps of ``meter`` around the rest, without a thread."""

    sync_capable = True
    async_capable = True
    meter: ClassVar[Any]

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._meter = self.meter(get_response)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        self._meter.process_request(request)
        return self._later(request) if self._is_async else self._done(request, self._get_response(request))

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        return self._done(request, await self._get_response(request))

    def _done(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        answer: HttpResponseBase = self._meter.process_response(request, response)
        return answer


class BeforeMiddleware(_Metered):
    """First of all: the whole time of a request."""

    meter = PrometheusBeforeMiddleware


class AfterMiddleware(_Metered):
    """Last of all: the time of the view, by view and status."""

    meter = PrometheusAfterMiddleware

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """A view raised."""
        self._meter.process_exception(request, exception)

    def process_template_response(self, request: HttpRequest, response: Any) -> Any:
        """A page by its template."""
        return self._meter.process_template_response(request, response)

    def _done(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if request.resolver_match is not None:
            self._meter.process_view(request, None)  # here, since as a step of its own it would cost a thread
        return super()._done(request, response)
