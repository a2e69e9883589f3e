"""The log writer beside `bench/log.py`: takes one journal into a log in a temporary folder until its socket is closed."""

from __future__ import annotations

import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

from hostguard.recorder.drain import Drain
from hostguard.recorder.entry import FlowOpen
from hostguard.recorder.log import Log
from hostguard.recorder.note import Signer
from hostguard.recorder.seal import Sealer

BATCH_S = 0.05
SEAL_S = 2.0


def main() -> None:
    """Arguments: the socket's descriptor, how many flows, 1 to seal."""
    talk = socket.socket(fileno=int(sys.argv[1]))
    with tempfile.TemporaryDirectory(prefix="hostguard-bench-") as name:
        log = Log(Path(name), lambda: (time.time_ns(), time.monotonic_ns()))
        drain = Drain(log, batch_s=BATCH_S)
        handle = drain.open_journal("bench")
        numbers = [drain.open_flow(handle.number, FlowOpen("support", "support-agent", "shop")) for _ in range(int(sys.argv[2]))]
        thread = threading.Thread(target=drain.run)
        thread.start()
        socket.send_fds(talk, [" ".join(map(str, numbers)).encode()], list(handle.fds))
        handle.close_fds()
        sealer = Sealer(Path(name), Signer("bench/hostguard", b"b" * 32), log.sync, lambda: time.sleep(50e-6))
        talk.settimeout(SEAL_S)
        while True:
            try:
                talk.recv(1)
                break
            except TimeoutError:
                if sys.argv[3] == "1":
                    sealer.seal()
        drain.end_journal(handle.number, "the end of the measurement")
        drain.stop()
        thread.join()
        drain.close()
        log.close()
        if drain.failures:
            sys.exit(str(drain.failures))


if __name__ == "__main__":
    main()
