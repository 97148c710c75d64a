"""The phone network: simulated calls against any server that speaks Twilio's protocol.

::

    async with Carrier("http://127.0.0.1:8000", account_sid=sid, auth_token=token) as carrier:
        call = carrier.call(caller="+15550001111")
        await call.start()
        await call.wait_for(AgentStarted)
        await call.wait_for_quiet()
        await call.speak(mulaw)
        await call.hang_up()
"""

from voiceagent.sandbox.carrier.call import PhoneCall
from voiceagent.sandbox.carrier.endings import CallFailedError, LinkError
from voiceagent.sandbox.carrier.events import (
    ActionRequested,
    AgentStarted,
    AgentStopped,
    CallerStarted,
    CallerStopped,
    Cleared,
    Dialed,
    DtmfSent,
    HungUp,
    MarkReturned,
    MarkTaken,
    ProtocolFault,
    Said,
    StatusPosted,
    StreamClosed,
    StreamOpened,
    StreamRefused,
    TimelineEvent,
    Updated,
    WebhookAnswered,
)
from voiceagent.sandbox.carrier.faults import CarrierFaults
from voiceagent.sandbox.carrier.network import Carrier
from voiceagent.sandbox.carrier.stream import ServerMessage

__all__ = [
    "Carrier", "PhoneCall", "CallFailedError", "LinkError", "CarrierFaults", "ServerMessage", "TimelineEvent",
    "ActionRequested", "AgentStarted", "AgentStopped", "CallerStarted", "CallerStopped", "Cleared", "Dialed", "DtmfSent",
    "HungUp", "MarkReturned", "MarkTaken", "ProtocolFault", "Said", "StatusPosted", "StreamClosed", "StreamOpened",
    "StreamRefused", "Updated", "WebhookAnswered",
]  # fmt: skip
