"""A whole writer of the log as the text of a program, for tests that break what it asks of the kernel."""

from __future__ import annotations

# A whole writer: appends, rotation, payloads, seals, witnesses' files, retention. Says what it may say only once it is true. It
# talks by sendto, because the faults hit every write.
WRITER = """
import os, socket, sys, time
from pathlib import Path
from hostguard.recorder.durable import LogUnavailable
from hostguard.recorder.entry import Cancel, Operation
from hostguard.recorder.log import Log
from hostguard.recorder.note import Signer
from hostguard.recorder.packing import LogCorrupt
from hostguard.recorder.retention import Rule, plan, remove
from hostguard.recorder.seal import Sealer, SealFailed
from hostguard.identity.auditors import Recipients
from hostguard.recorder.witnessed import keep
folder, first, segment_bytes, talk = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
encrypt = Recipients(sys.argv[6:]).encrypt if sys.argv[6:] else None
out = socket.socket(fileno=talk)
def say(text):
    out.send(text.encode() + b"\\n")
say("begun")
out.recv(1)
try:
    log = Log(folder, lambda: (time.time_ns(), time.monotonic_ns()), segment_bytes=segment_bytes, encrypt=encrypt)
    sealer = Sealer(folder, Signer("example.com/log", b"s" * 32), log.sync)
except (LogUnavailable, SealFailed) as error:
    say(f"failed {error}")
    os._exit(0)
number = first
def append():
    global number
    try:
        text = f"{number}" + "x" * (70_000 if number % 20 == 0 else 10)
        log.append(0, Cancel(number), Operation(number, "query", text))
        say(f"appended {number}")
        number += 1
    except LogUnavailable as error:
        say(f"failed {error}")
def seal():
    try:
        log.sync()
        sealer.seal()
        say(f"sealed {sealer.checkpoint.size}")
        keep(folder, "w1", (folder / "checkpoint").read_text())
    except (LogUnavailable, SealFailed, OSError) as error:
        say(f"failed {error}")
def retain():
    try:
        log.payloads.watch()
        rule = Rule(keep_bytes=int(sys.argv[5]))
        found = plan(folder, rule, sealer.checkpoint.size, time.time_ns())
        if found:
            position = log.append(0, found.record(rule))
            log.sync()
            sealer.seal()
            if sealer.checkpoint.size >= position:
                remove(found, log.payloads)
    except (LogUnavailable, SealFailed, LogCorrupt, OSError) as error:
        say(f"failed {error}")
for turn in range(5):
    for _ in range(16):
        append()
    seal()
    retain()
try:
    log.close()
except (LogUnavailable, OSError) as error:
    say(f"failed {error}")
os._exit(0)
"""
