"""The command: place simulated calls and print what happens."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import sys
from typing import TYPE_CHECKING

from voiceagent.sandbox.call import lines
from voiceagent.sandbox.call.conversation import Conversation
from voiceagent.sandbox.call.find import NoServerError, Target, find_target
from voiceagent.sandbox.call.options import parse
from voiceagent.sandbox.call.outcome import Outcome, how_it_ended, waited
from voiceagent.sandbox.call.printer import Printer, write
from voiceagent.sandbox.call.recording import RecordingError
from voiceagent.sandbox.call.transcript import NoSource, best_source
from voiceagent.sandbox.carrier import Carrier, LinkError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from voiceagent.sandbox.carrier import PhoneCall

_STAGGER_S = 0.25


def script_of(options: argparse.Namespace) -> lines.Script:
    """What to say. Raises :class:`RecordingError` and :class:`lines.NoVoiceError`."""
    if options.wav:
        return lines.from_files(options.wav, options.barge_in_after)
    if options.text:
        return lines.from_texts(options.text, options.barge_in_after)
    if options.dtmf:
        return lines.Script(())
    return lines.bundled(options.barge_in_after)


async def place(options: argparse.Namespace, target: Target, script: lines.Script) -> list[Outcome]:
    """All the calls, to their end. Raises :class:`LinkError`."""
    async with Carrier(
        target.url,
        account_sid=target.account_sid,
        auth_token=target.auth_token,
        rest_url=target.rest_url,
        public_url=target.public_url,
    ) as carrier:
        write(f"From {options.caller} to {options.called} at {carrier.voice_url}")
        if options.calls == 1:
            return [await _only(options, carrier, script, target)]
        write(f"{options.calls} calls, one more every {_STAGGER_S:g} s. The conversation is that of call 1.")
        jobs = [_one_of_many(options, carrier, script, target, number) for number in range(1, options.calls + 1)]
        return list(await asyncio.gather(*jobs))


async def _only(options: argparse.Namespace, carrier: Carrier, script: lines.Script, target: Target) -> Outcome:
    printer = Printer()
    call = carrier.call(options.caller, options.called, listener=printer.event)
    printer.timeline = call.timeline
    write(f"CallSid {call.call_sid}")
    return await Conversation(call, script, options.dtmf or "", best_source(target), printer.note).run()


async def _one_of_many(
    options: argparse.Namespace, carrier: Carrier, script: lines.Script, target: Target, number: int
) -> Outcome:
    """One of several calls: the first is shown as it happens, of each there is a line when it ends."""
    await asyncio.sleep((number - 1) * _STAGGER_S)
    printer = Printer(f"{number:>3}  ")
    shown = number == 1
    call = carrier.call(options.caller, options.called, listener=printer.event if shown else None, keep_audio=shown)
    printer.timeline = call.timeline
    source = best_source(target) if shown else NoSource()
    conversation = Conversation(call, script, options.dtmf or "", source, printer.note if shown else lambda _: None)
    verdict = "was interrupted"
    try:
        outcome = await conversation.run()
        verdict = "went wrong" if outcome.problems else "went well"
        return outcome
    finally:
        for line in summary(call, conversation.outcome, verdict):
            write(f"{number:>3}  {line}")


def summary(call: PhoneCall, outcome: Outcome, verdict: str) -> list[str]:
    """A call that is over: in a line, and a line for each problem."""
    facts = "1 turn" if outcome.turns == 1 else f"{outcome.turns} turns"
    if waits := outcome.waits_ms or outcome.key_waits_ms:
        facts += f", answered in {statistics.median(waits):.0f} ms (median)"
    line = (
        f"{call.call_sid} {verdict} after {call.timeline.now_ms() / 1000:.1f} s: {facts}; {how_it_ended(call.timeline)}"
    )
    return [line, *(f"    Problem: {problem}" for problem in outcome.problems)]


def report(outcomes: Sequence[Outcome]) -> int:
    """The last lines, and the exit code."""
    if waits := waited(outcomes):
        write(f"{waits[0].upper()}{waits[1:]}.")
    failed = [outcome for outcome in outcomes if outcome.problems]
    if len(outcomes) > 1:
        write(
            f"{len(failed)} of {len(outcomes)} calls went wrong." if failed else f"All {len(outcomes)} calls went well."
        )
        return 1 if failed else 0
    for problem in outcomes[0].problems:
        write(f"Problem: {problem}")
    write("The call went wrong." if failed else "The call went well.")
    return 1 if failed else 0


class _StoppedError(Exception):
    """Told by a signal to leave; its number is the argument."""


async def _until_stopped(options: argparse.Namespace, target: Target, script: lines.Script) -> list[Outcome]:
    """:func:`place`, ended in order by SIGINT and SIGTERM. Raises :class:`_StoppedError` then."""
    calls = asyncio.create_task(place(options, target, script))
    told: list[int] = []

    def stop(number: int) -> None:
        if told:
            os._exit(128 + number)
        told.append(number)
        write("\nHanging up. Ctrl-C again leaves at once.")
        calls.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    try:
        return await calls
    except asyncio.CancelledError:
        raise _StoppedError(told[0]) from None


def main() -> int:
    """Parse, call, report. Codes: 0 went well, 1 went wrong, 2 could not be placed, 128 and more: a signal."""
    options = parse()
    try:
        target = find_target(options)
        script = script_of(options)
        for line in script.lines:
            if line.is_silent:
                write(f"“{line.text}” is silence: nothing in it is loud enough to be heard as speech.")
        return report(asyncio.run(_until_stopped(options, target, script)))
    except (NoServerError, lines.NoVoiceError, RecordingError) as error:
        sys.stderr.write(f"{error}\n")
    except LinkError as error:
        sys.stderr.write(f"The stand-ins at {error}. Does `make run` still run?\n")
    except _StoppedError as stopped:
        return 128 + int(stopped.args[0])
    return 2
