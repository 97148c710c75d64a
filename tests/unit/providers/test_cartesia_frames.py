"""The queue before the recogniser: order, bounds, joining."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from calls.providers.cartesia.frames import FrameQueue


async def test_frames_and_commands_come_in_order() -> None:
    queue = FrameQueue()
    queue.put(b"a")
    queue.command("finalize")
    queue.put(b"b")
    assert [await queue.get() for _ in range(3)] == [b"a", "finalize", b"b"]


async def test_when_full_the_oldest_audio_goes_and_no_command() -> None:
    queue = FrameQueue(max_frames=3)
    queue.command("finalize")
    for frame in (b"1", b"2", b"3", b"4"):
        queue.put(frame)
    assert queue.dropped_frames == 2
    assert [await queue.get() for _ in range(3)] == ["finalize", b"3", b"4"]


async def test_a_queue_full_of_commands_still_takes_audio() -> None:
    queue = FrameQueue(max_frames=1)
    queue.command("finalize")
    queue.put(b"1")
    assert [await queue.get(), await queue.get()] == ["finalize", b"1"]


async def test_joining_makes_larger_frames_and_a_command_flushes_what_is_there() -> None:
    queue = FrameQueue(join_bytes=4)
    for _ in range(3):
        queue.put(b"xy")
    queue.command("finalize")
    assert [await queue.get() for _ in range(3)] == [b"xyxy", b"xy", "finalize"]


async def test_clear_forgets_everything() -> None:
    queue = FrameQueue(join_bytes=2)
    queue.put(b"abc")
    queue.put(b"d")
    queue.clear()
    queue.put(b"ef")
    assert await queue.get() == b"ef"


async def test_a_waiting_reader_is_woken() -> None:
    queue = FrameQueue()
    reader = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.put(b"a")
    assert await reader == b"a"


@given(sizes=st.lists(st.integers(1, 400), max_size=30), join=st.integers(0, 800))
def test_joining_neither_loses_nor_reorders(sizes: list[int], join: int) -> None:
    async def scenario() -> None:
        queue = FrameQueue(max_frames=100, join_bytes=join)
        audio = [bytes([index]) * size for index, size in enumerate(sizes)]
        for frame in audio:
            queue.put(frame)
        queue.command("end")
        found = [await queue.get()]
        while found[-1] != "end":
            found.append(await queue.get())
        pieces = [item for item in found if isinstance(item, bytes)]
        assert b"".join(pieces) == b"".join(audio)
        assert all(len(piece) >= join for piece in pieces[:-1])

    asyncio.run(scenario())
