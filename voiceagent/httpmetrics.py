"""The middleware of ``django-prometheus``, for the event loop. What is counted, and under which names, is the package's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_prometheus.middleware import PrometheusAfterMiddleware, PrometheusBeforeMiddleware

from voiceagent.inplace import InPlace, InPlaceWithView

if TYPE_CHECKING:
    from django.http import HttpRequest


class BeforeMiddleware(InPlace):
    """First of all: the whole time of a request."""

    package = PrometheusBeforeMiddleware


class AfterMiddleware(InPlaceWithView):
    """Last of all: the time of the view, by view and status."""

    package = PrometheusAfterMiddleware

    def process_template_response(self, request: HttpRequest, response: Any) -> Any:
        """A page by its template."""
        return self._steps.process_template_response(request, response)
