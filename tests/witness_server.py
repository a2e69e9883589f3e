"""Stand-ins for those who keep a log's checkpoints: a C2SP tlog-witness, a web hook; on loopback, in threads of the test.

https://c2sp.org/tlog-witness, add-checkpoint: every answer that the specification has, in its order.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from hostguard.recorder.checkpoint import Checkpoint, cosigned_message, open_checkpoint
from hostguard.recorder.note import COSIGNATURE, BadNote, Signature, Signer, Verifier, parse_verifier
from hostguard.recorder.tree import BadProof, check_consistency


class Listener:
    """An HTTP server whose POSTs go to `answer`."""

    def __init__(self) -> None:
        self._one = threading.Lock()
        self.requests: list[str] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                with listener._one:
                    status, text, kind = listener.answer(self.path, body)
                    listener.requests.append(body)
                data = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/sub"

    def answer(self, path: str, body: str) -> tuple[int, str, str]:
        """Status, text, content type."""
        raise NotImplementedError


class TestWitness(Listener):
    """A witness of one log."""

    __test__ = False

    def __init__(self, name: str) -> None:
        super().__init__()
        self.signer = Signer(name, b"w" * 32)
        self.verifier = Verifier(name, COSIGNATURE, self.signer.verifier.public)
        self.log: Verifier | None = None
        self.seen = Checkpoint("", 0, b"")

    @property
    def key(self) -> str:
        """The verifier key, for the configuration."""
        return str(self.verifier)

    def trust(self, key: str) -> None:
        """Know a log."""
        self.log = parse_verifier(key)

    def answer(self, path: str, body: str) -> tuple[int, str, str]:
        assert path == "/sub/add-checkpoint"
        plain = "text/plain"
        head, _, note = body.partition("\n\n")
        old_line, *lines = head.split("\n")
        old = int(old_line.removeprefix("old "))
        if self.log is None or note.split("\n")[0] != self.log.name:
            return 404, "unknown log\n", plain
        try:
            checkpoint, parsed = open_checkpoint(note, self.log)
        except BadNote as error:
            return 403, f"{error}\n", plain
        if old > checkpoint.size:
            return 400, "old is larger\n", plain
        if old != self.seen.size:
            return 409, f"{self.seen.size}\n", "text/x.tlog.size"
        try:
            if old:
                proof = [base64.b64decode(line, validate=True) for line in lines]
                check_consistency(old, self.seen.root, checkpoint.size, checkpoint.root, proof)
            elif lines:
                return 422, "a proof from nothing\n", plain
        except BadProof as error:
            return 422, f"{error}\n", plain
        self.seen = checkpoint
        return 200, self.cosigned(parsed.text), plain

    def cosigned(self, text: str) -> str:
        """The answer: our signature, and one of a stranger that the client must ignore."""
        time_s = int(time.time())
        data = self.signer.sign(cosigned_message(text, time_s).decode()).signatures[0].data
        ours = Signature(self.verifier.name, self.verifier.key_id, time_s.to_bytes(8) + data)
        return ours.line() + Signature("stranger.example", b"\1\2\3\4", bytes(72)).line()


@dataclass(slots=True)
class Answers:
    """What a hook answers."""

    status: int
    texts: list[str] = field(default_factory=list)


class Hook(Listener):
    """A web hook."""

    def __init__(self, answers: Answers) -> None:
        super().__init__()
        self.answers = answers

    def answer(self, path: str, body: str) -> tuple[int, str, str]:
        return self.answers.status, "so it is\n", "text/plain"


@contextmanager
def _running(listener: Listener) -> Iterator[None]:
    thread = threading.Thread(target=listener.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.server.shutdown()
        listener.server.server_close()
        thread.join()


@contextmanager
def witnessing(name: str, kind: type[TestWitness] = TestWitness) -> Iterator[TestWitness]:
    """A witness that listens."""
    witness = kind(name)
    with _running(witness):
        yield witness


@contextmanager
def hooked(answers: Answers) -> Iterator[Hook]:
    """A web hook that listens."""
    hook = Hook(answers)
    with _running(hook):
        yield hook
