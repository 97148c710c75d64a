"""How often is too often: for requests that the carrier did not sign, and for calls of one number.

What is rightly signed is never refused for what others send: behind a proxy that does not say whom it speaks for,
everybody has one address, the carrier too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from calls import metrics
from memory import limits
from memory.callers import normalised
from memory.limits import Rule
from memory.people import hash_of

if TYPE_CHECKING:
    from calls.conf import LimitsConf


async def unsigned_wait_s(conf: LimitsConf, address: str) -> int:
    """Count a request without the carrier's signature: 0, or the seconds for which nobody need look at another."""
    metrics.UNSIGNED_REQUESTS.inc()
    if not conf.unsigned_per_minute:
        return 0
    rule = Rule("unsigned", conf.unsigned_per_minute)
    return await limits.current().wait_s_async(rule, limits.source(address))


async def rings_too_often(conf: LimitsConf, number: str) -> bool:
    """Count a call of this number. Who withholds it is many people, whom ``MAX_CALLS`` alone bounds."""
    if not conf.calls_per_number or not normalised(number):
        return False
    rule = Rule("calls", conf.calls_per_number)
    return bool(await limits.current().wait_s_async(rule, hash_of(number)))
