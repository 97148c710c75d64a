"""Middleware of packages that is synchronous, run where the request is: Django would send each of its steps to a thread.

Fit for steps that neither wait nor read. What they do is the package's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from django.http import HttpRequest, HttpResponseBase


class InPlace:
    """Runs ``process_request`` and ``process_response`` of ``package`` around the rest, without a thread."""

    sync_capable = True
    async_capable = True
    package: ClassVar[Any]

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._steps = self.package(get_response)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        self._steps.process_request(request)
        return self._later(request) if self._is_async else self._done(request, self._get_response(request))

    async def _later(self, request: HttpRequest) -> HttpResponseBase:
        return self._done(request, await self._get_response(request))

    def _done(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        answer: HttpResponseBase = self._steps.process_response(request, response)
        return answer


class InPlaceWithView(InPlace):
    """The same for a package that looks at the view and at what it raises."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """A view raised."""
        self._steps.process_exception(request, exception)

    def _done(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        if request.resolver_match is not None:
            self._steps.process_view(request, None)  # here, since as a step of its own it would cost a thread
        return super()._done(request, response)
