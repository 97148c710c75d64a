"""``python -m voiceagent.sandbox.call`` (``make call``): place simulated calls and print what happens."""

from __future__ import annotations

import argparse
import asyncio
import sys
import wave
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from voiceagent.sandbox.call import lines
from voiceagent.sandbox.call.conversation import Conversation, Outcome
from voiceagent.sandbox.call.find import NoServerError, Target, find_target
from voiceagent.sandbox.call.printer import Printer, write
from voiceagent.sandbox.call.transcript import NoSource, TranscriptSource, best_source
from voiceagent.sandbox.carrier import Carrier
from voiceagent.sandbox.carrier.network import DEFAULT_CALLED, DEFAULT_CALLER

if TYPE_CHECKING:
    from collections.abc import Sequence

_STAGGER_S = 0.25


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="make call ARGS='…'", description="Place a simulated phone call.")
    what = options.add_mutually_exclusive_group()
    what.add_argument("--wav", nargs="+", type=Path, metavar="FILE", help="say these recordings (PCM WAV, any rate)")
    what.add_argument("--text", nargs="+", metavar="TEXT", help="say these lines with the local voice")
    options.add_argument("--barge-in-after", type=int, metavar="MS", help="interrupt each answer after so long")
    options.add_argument("--dtmf", default="", metavar="DIGITS", help="press these keys after the last line")
    options.add_argument("--calls", type=int, default=1, metavar="N", help="so many calls at once")
    options.add_argument("--from", dest="caller", default=DEFAULT_CALLER, metavar="NUMBER")
    options.add_argument("--to", dest="called", default=DEFAULT_CALLED, metavar="NUMBER")
    options.add_argument("--url", help="a server elsewhere (its public address); needs --auth-token")
    options.add_argument("--auth-token", help="the account's token, which signs the requests")
    options.add_argument("--account-sid", help="the account's id")
    return options


def script_of(options: argparse.Namespace) -> lines.Script:
    """What to say. Raises ``OSError``, ``wave.Error`` and :class:`lines.NoVoiceError`."""
    if options.wav:
        return lines.from_files(options.wav, options.barge_in_after)
    if options.text:
        return lines.from_texts(options.text, options.barge_in_after)
    if options.dtmf:
        return lines.Script(())
    return lines.bundled(options.barge_in_after)


async def place(options: argparse.Namespace, target: Target, script: lines.Script) -> list[Outcome]:
    """All the calls, to their end."""
    source = await best_source(target) if options.calls == 1 else NoSource()
    async with Carrier(
        target.url,
        account_sid=target.account_sid,
        auth_token=target.auth_token,
        rest_url=target.rest_url,
        public_url=target.public_url,
    ) as carrier:
        jobs = [one_call(options, carrier, script, source, number) for number in range(options.calls)]
        return list(await asyncio.gather(*jobs))


async def one_call(
    options: argparse.Namespace, carrier: Carrier, script: lines.Script, source: TranscriptSource, number: int
) -> Outcome:
    """One of the calls."""
    await asyncio.sleep(number * _STAGGER_S)
    printer = Printer(f"{number + 1:3}  " if options.calls > 1 else "")
    call = carrier.call(options.caller, options.called, listener=printer.event)
    printer.timeline = call.timeline
    write(f"CallSid {call.call_sid}  from {call.caller} to {call.called} at {carrier.voice_url}")
    return await Conversation(call, script, options.dtmf, source, printer.note).run()


def report(outcomes: Sequence[Outcome]) -> int:
    """The last lines, and the exit code."""
    waits = sorted(wait for outcome in outcomes for wait in outcome.waits_ms)
    if waits:
        write(
            f"Answers began {waits[len(waits) // 2]:.0f} ms (median) after the caller stopped, at most {waits[-1]:.0f} ms."
        )
    failed = [outcome for outcome in outcomes if outcome.problems]
    for outcome in failed:
        for problem in outcome.problems:
            write(f"Problem: {problem}")
    if failed:
        write(f"{len(failed)} of {len(outcomes)} calls went wrong." if len(outcomes) > 1 else "The call went wrong.")
        return 1
    write("All calls went well." if len(outcomes) > 1 else "The call went well.")
    return 0


def main() -> int:
    """Parse, call, report."""
    options = parser().parse_args()
    try:
        target = find_target(options)
        script = script_of(options)
        return report(asyncio.run(place(options, target, script)))
    except (NoServerError, lines.NoVoiceError) as error:
        sys.stderr.write(f"{error}\n")
    except (OSError, wave.Error) as error:
        if isinstance(error, aiohttp.ClientError):
            sys.stderr.write(f"The stand-in's REST API could not be reached: {error}\n")
        else:
            sys.stderr.write(f"The recording cannot be read: {error}\n")
    except KeyboardInterrupt:
        return 130
    return 2


if __name__ == "__main__":
    sys.exit(main())
