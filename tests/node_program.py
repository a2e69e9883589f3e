"""A program of ``tests/openid`` on npm's oidc-provider, for as long as a context lasts."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "openid"
START_LIMIT_S = 60.0


@contextmanager
def running(program: str, settings: Mapping[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Start it; it gets the settings as JSON, and says ``READY``. Raises RuntimeError with its words."""
    if not (FOLDER / "node_modules" / "oidc-provider").is_dir():
        raise RuntimeError("oidc-provider is not installed: run scripts/provision")
    command = ["setpriv", "--pdeathsig=KILL", "node", program]
    process = subprocess.Popen(command, cwd=FOLDER, text=True, stdin=-1, stdout=-1, stderr=subprocess.STDOUT)
    assert process.stdin is not None
    assert process.stdout is not None
    lines: list[str] = []
    ready = threading.Event()

    def listen(pipe: Any) -> None:
        for line in pipe:
            lines.append(line)
            if line.startswith("READY"):
                ready.set()
        ready.set()

    threading.Thread(target=listen, args=(process.stdout,), daemon=True).start()
    process.stdin.write(json.dumps(settings))
    process.stdin.close()
    try:
        if not ready.wait(START_LIMIT_S) or process.poll() is not None:
            raise RuntimeError("oidc-provider did not start:\n" + "".join(lines))
        yield process
    finally:
        process.kill()
        process.wait()
