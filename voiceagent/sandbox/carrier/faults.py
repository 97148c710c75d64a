"""What can go wrong on the phone network's side."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class CarrierFaults:
    """Misbehaviour of one call; may be changed while it runs. Times are milliseconds of the stream."""

    no_start: bool = False
    no_stop: bool = False
    abrupt_close: bool = False
    stall_after_ms: float | None = None
    late_marks_ms: float = 0.0
    burst_at_ms: float | None = None
    burst_ms: float = 0.0
    drop_every: int = 0
    duplicate_status: bool = False
    status_out_of_order: bool = False
    webhook_retry: bool = False
    forged_webhook: bool = False
    forged_upgrade: bool = False
    unsigned: bool = False
    replayed_parameters: dict[str, str] | None = None
