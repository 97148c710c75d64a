"""The record of uses, where the database cannot take it."""

from __future__ import annotations

from structlog.testing import capture_logs

from memory.mcp.desk import Use, record


async def test_a_use_that_cannot_be_written_down_is_in_the_log() -> None:
    # No test may touch the database unless it says so: here it fails as one that is away does.
    with capture_logs() as lines:
        await record(Use("memory_search", "token:crm", "abc", "done", 3, 12))

    assert [line["event"] for line in lines] == ["mcp.access_not_written"]
    fields = {"action": "memory_search", "by": "token:crm", "caller_hash": "abc", "outcome": "done", "took_ms": 12}
    assert fields.items() <= lines[0].items()
