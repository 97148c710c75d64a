"""Pages of this screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.shortcuts import render

from voiceagent.console.access import needs

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


@needs("console.test_call")
def phone(request: HttpRequest) -> HttpResponse:
    """A place for the screen to come."""
    return render(request, "console/coming.html", {"heading": "Test call"})
