"""Whether the code that is installed now could take over from the daemon that runs, asked before anything is given up.

``python -I -m hostguard.agent.preflight CONFIG``, with the running configuration's texts on stdin: a process of the new code
reads both configurations, and prints a `Finding` as JSON. Whatever it dies of is a reason not to go on.
"""

from __future__ import annotations

import asyncio
import sys
from importlib.metadata import version

import msgspec

from ..policy.document import ConfigErrors, Document, of_texts
from ..policy.rules import Source
from .handover import VERSION
from .speech import speech

LIMIT_S = 60.0
MODULE = "hostguard.agent.preflight"


class Running(msgspec.Struct, frozen=True):
    """The configuration of the daemon that runs."""

    text: str
    sources: tuple[Source, ...]


class Finding(msgspec.Struct, frozen=True):
    """What the new code says."""

    release: str = ""
    handover: int = 0
    """Version of the state that it takes over."""
    speech: str = ""
    """Of the workers that it can take over."""
    objections: tuple[str, ...] = ()
    """Why it can't take over."""


async def ask(document: Document) -> Finding:
    """Have the installed code look at its configuration, and at the running one; never raises but when cancelled."""
    pipe = asyncio.subprocess.PIPE
    running = msgspec.json.encode(Running(document.text, document.sources))
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", MODULE, document.file), stdin=pipe, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        return Finding(objections=(f"{sys.executable} can't be run: {error.strerror}",))
    try:
        async with asyncio.timeout(LIMIT_S):
            output, errors = await process.communicate(running)
    except TimeoutError:
        process.kill()
        await process.wait()
        return Finding(objections=(f"the installed code did not answer within {LIMIT_S:.0f} s",))
    try:
        return msgspec.json.decode(output, type=Finding)
    except msgspec.MsgspecError:
        said = errors.decode("utf-8", "replace").strip().splitlines() or [f"it ended with {process.returncode}"]
        return Finding(objections=(f"the installed code does not run: {said[-1]}",))


def find(file: str, running: Running) -> Finding:
    """What this code says."""
    # Only now: whether all of the daemon can be imported is part of the question.
    from .daemon import check
    from .failures import Failure

    finding = Finding(version("hostguard"), VERSION, speech())
    try:
        document = check(file)
    except ConfigErrors as mistakes:
        return msgspec.structs.replace(finding, objections=tuple(map(str, mistakes.errors)))
    except Failure as failure:
        return msgspec.structs.replace(finding, objections=(str(failure),))
    try:
        before = of_texts(file, running.text, running.sources)
    except ConfigErrors as mistakes:
        said = f"the installed code does not understand the configuration that runs: {mistakes.errors[0]}"
        return msgspec.structs.replace(finding, objections=(said,))
    return msgspec.structs.replace(finding, objections=tuple(objections(before, document)))


def objections(before: Document, after: Document) -> list[str]:
    """What has changed that flows which are open, or connections which wait, were set up by: a sentence each."""
    fixed = {f"daemon.{key}": key for key in ("state_dir", "run_dir", "pin_dir", "attach")}
    changed = [name for name, key in fixed.items() if getattr(before.daemon, key) != getattr(after.daemon, key)]
    # Their numbers are in the kernel's maps, in their order.
    if list(before.workloads.items()) != list(after.workloads.items()):
        changed.append("workloads")
    if before.log.durability != after.log.durability:
        changed.append("log.durability")
    changed += [f"resources.{name}" for name, one in before.resources.items() if after.resources.get(name) != one]
    return [f"{after.file}: {name} has changed, which takes a stop and a start" for name in changed]


if __name__ == "__main__":
    running = msgspec.json.decode(sys.stdin.buffer.read(), type=Running)
    sys.stdout.buffer.write(msgspec.json.encode(find(sys.argv[1], running)))
