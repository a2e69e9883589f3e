"""The replay of one flow as an asciicast for `asciinema`.

Format: asciicast v2 (docs.asciinema.org/manual/asciicast/v2): a JSON header, then ``[time, "o", data]`` lines. What is shown is
the text of ``recordings replay``: statements with their decisions and replies at the times at which they happened; values only
where replies were captured.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from ..recording import Event, Recording, Step
from ..telling import notes, verdict

WIDTH = 120
HEIGHT = 40
_COLOURS = {"allow": 32, "hold": 33}
_DENIED = 31
_INDENT = " " * 12


def cast(found: Recording) -> Iterator[bytes]:
    """The file's lines. Times are seconds since the flow began."""
    facts = found.facts
    title = f"flow {facts.flow}: {facts.agent} on {facts.resource or facts.destination}"
    header = {"version": 2, "width": WIDTH, "height": HEIGHT, "timestamp": found.start_ns // 10**9, "title": title}
    yield json.dumps(header, ensure_ascii=False).encode() + b"\n"
    yield _output(
        0, [_sgr(1, f"flow {facts.flow}") + f"  {facts.agent} ({facts.workload}) → {facts.resource} {facts.destination}"]
    )
    # Times must not go back: entries of one append share a time, and a replay shows nothing before what came before it.
    last_us = 0
    for item in found.items:
        last_us = max(last_us, item.offset_us)
        yield _output(last_us, list(_shown(item)))
    if found.end_ns is not None:
        last_us = max(last_us, (found.end_ns - found.start_ns) // 1000)
        yield _output(last_us, [_sgr(2, f"closed: {facts.refused or found.close_reason}")])


def _shown(item: Step | Event) -> Iterator[str]:
    stamp = _sgr(2, f"{item.offset_us / 1e6:9.3f}")
    if isinstance(item, Event):
        yield f"{stamp} {_sgr(36, item.kind)} {item.text}"
        return
    yield f"{stamp} {_sgr(_COLOURS.get(item.verdict, _DENIED), verdict(item))} {_sgr(2, f'{item.form} #{item.number}')}"
    for text in item.lines:
        yield _INDENT + _sgr(1, text)
    for text in notes(item):
        yield _INDENT + text


def _sgr(code: int, text: str) -> str:
    """Select graphic rendition (ECMA-48 §8.3.117). The text has no control characters: it went through `visible`."""
    return f"\x1b[{code}m{text}\x1b[0m"


def _output(at_us: int, texts: list[str]) -> bytes:
    data = "".join(f"{text}\r\n" for text in texts)
    return json.dumps([at_us / 1e6, "o", data], ensure_ascii=False).encode() + b"\n"
