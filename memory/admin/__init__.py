"""The memory in Django's admin: callers with what is known of them, searches, tokens, receipts, and who looked."""

from __future__ import annotations

from django.contrib import admin

from memory.admin import callers, found, records, tokens
from memory.models import Access, ApiToken, Caller, ErasureRequest, Memory, Tombstone, Utterance

admin.site.register(Caller, callers.CallerAdmin)
admin.site.register(Memory, found.FactAdmin)
admin.site.register(Utterance, found.UtteranceAdmin)
admin.site.register(ApiToken, tokens.TokenAdmin)
admin.site.register(ErasureRequest, records.ReceiptAdmin)
admin.site.register(Tombstone, records.TombstoneAdmin)
admin.site.register(Access, records.AccessAdmin)
