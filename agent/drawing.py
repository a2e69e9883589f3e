"""The matrix of duties for the web page, drawn once for each policy by a process of its own.

What it takes grows with agents, users and duties: 50, 20 and 6 take three seconds of a processor, in which the supervisor would
answer nobody. ``python -I -m hostguard.agent.drawing FILE``: the configuration in force on stdin, a `duty_table.Table` on stdout.
Nothing of it is an agent's: it reads what root has written.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

import msgspec

from ..policy.decide import Decider, Policy
from ..policy.document import Document, of_texts
from ..policy.duty_table import Table, table
from ..policy.holders import matrix
from ..policy.rules import Source

LIMIT_S = 300.0
AGAIN_S = 60.0
"""After the limit, before what failed is tried again."""
MAX_BYTES = 4 << 20
MODULE = "hostguard.agent.drawing"


class NotDrawn(Exception):
    """There is none; says why."""


class Drawing:
    """Has one drawn when somebody looks, keeps the last."""

    def __init__(self, decider: Decider) -> None:
        self._decider = decider
        self._drawn: asyncio.Task[Table] | None = None
        self._epoch = 0
        self._again_at = 0.0
        self._tasks: set[asyncio.Task[Table]] = set()

    async def get(self, limit_s: float) -> Table | None:
        """That of the policy in force; None when it takes longer than this, and goes on being drawn. Raises NotDrawn."""
        task = self._current()
        done, _ = await asyncio.wait([task], timeout=limit_s)
        # Cancelled: another policy is in force since.
        return task.result() if done and not task.cancelled() else None

    def _current(self) -> asyncio.Task[Table]:
        policy, task, now = self._decider.policy, self._drawn, time.monotonic()
        if task is not None and self._epoch == policy.epoch and (now < self._again_at or not _has_failed(task)):
            return task
        if task is not None:
            task.cancel()
        self._epoch, self._again_at = policy.epoch, now + LIMIT_S + AGAIN_S
        task = self._drawn = asyncio.get_running_loop().create_task(_draw(policy.document))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """Draw no more."""
        self._drawn = None
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))


def _has_failed(task: asyncio.Task[Table]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def _draw(document: Document) -> Table:
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", MODULE, document.file),
            stdin=pipe,
            stdout=pipe,
            stderr=asyncio.subprocess.DEVNULL,
            env={"LANG": "C.UTF-8"},
        )
    except OSError as error:
        raise NotDrawn(f"It can't be drawn: {error.strerror}.") from None
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(LIMIT_S):
            process.stdin.write(msgspec.json.encode((document.text, document.sources)))
            await process.stdin.drain()
            process.stdin.close()
            output = await process.stdout.read(MAX_BYTES + 1)
            while len(output) <= MAX_BYTES and (more := await process.stdout.read(MAX_BYTES + 1 - len(output))):
                output += more
        if len(output) > MAX_BYTES:
            raise NotDrawn("It is too large to be shown here: `hostguard policy duties` draws it.")
        return msgspec.json.decode(output, type=Table)
    except TimeoutError:
        raise NotDrawn(f"It takes longer than {LIMIT_S:.0f} s: `hostguard policy duties` draws it.") from None
    except (ConnectionError, msgspec.MsgspecError):
        raise NotDrawn("It could not be drawn: `hostguard policy duties` tells why.") from None
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def main() -> None:
    """Draw one."""
    os.nice(10)
    text, sources = msgspec.json.decode(sys.stdin.buffer.read(), type=tuple[str, tuple[Source, ...]])
    document = of_texts(sys.argv[1], text, sources)
    sys.stdout.buffer.write(msgspec.json.encode(table(document, matrix(Policy(document)))))


if __name__ == "__main__":
    main()
