"""Django's admin: agents to edit, calls to read."""

from __future__ import annotations

from django.contrib import admin

from calls.admin import agents, bookings, breakers, calls, events
from calls.models import Agent, AgentVersion, Booking, Call, CallEvent, CircuitBreaker

admin.site.site_header = "Voice agent"
admin.site.site_title = "Voice agent"
admin.site.site_url = "/console/"
admin.site.enable_nav_sidebar = False  # the calls need the width
admin.site.index_title = "Agents and calls"
admin.site.register(Agent, agents.AgentAdmin)
admin.site.register(AgentVersion, agents.AgentVersionAdmin)
admin.site.register(Call, calls.CallAdmin)
admin.site.register(Booking, bookings.BookingAdmin)
admin.site.register(CallEvent, events.CallEventAdmin)
admin.site.register(CircuitBreaker, breakers.BreakerAdmin)
