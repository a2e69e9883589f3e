"""Values of some form, found in columns of text or JSON that would pass, each replaced by its mask."""

from __future__ import annotations

import json

from ..detector import Detector
from ..disclosure import ReplyPlan
from . import containers, jsons, types
from .texts import Masking, masking
from .values import UNSHAPED, Shaper

_VERSION = b"\x01"


class Net:
    """The detector of one plan with its masks; notes what it found."""

    def __init__(self, plan: ReplyPlan) -> None:
        assert plan.detector is not None
        self._detector: Detector = plan.detector
        self._masks: dict[str, Masking] = {kind: masking(mask) for kind, mask in plan.detected.items()}
        self._tags = {kind: mask.tag for kind, mask in plan.detected.items()}
        self.suspects = plan.detector.suspects
        self.kinds: set[str] = set()
        """Kinds of values found since this was last cleared."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags of the kinds that were found."""
        return tuple(sorted({self._tags[kind] for kind in self.kinds}))

    def shaper(self, type_oid: int, code: int, codec: str | None) -> Shaper | None:
        """From a value on the wire to what may be seen of it; None for types that hold no text."""
        if type_oid in (types.JSON, types.JSONB):
            return self._careful(self._json, type_oid == types.JSONB and code == 1, codec)
        if type_oid in types.CHARACTER or (type_oid >= types.FIRST_USER_TYPE and code == 0):
            return self._careful(self.text, False, codec)
        if types.ARRAYS.get(type_oid) in types.CHARACTER:
            return self._elements(self._careful(self.text, False, codec), code)
        return None

    def _careful(self, change: Masking, versioned: bool, codec: str | None) -> Shaper:
        # What the encoding is may not be known; the forms looked for are ASCII, which reads the same in all that a server has.
        encoding = codec or "latin-1"
        errors = "surrogateescape" if encoding == "utf-8" else "strict"

        def shaped(value: bytes) -> bytes | None:
            start = 1 if versioned and value.startswith(_VERSION) else 0
            text = value[start:].decode(encoding, errors)
            fresh = change(text)
            # What nothing was found in stays as it came, byte for byte.
            return value if fresh is None or fresh == text else value[:start] + fresh.encode(encoding, errors)

        return shaped

    @staticmethod
    def _elements(member: Shaper, code: int) -> Shaper:
        rebuild = containers.array_binary if code else containers.array_text

        def shaped(value: bytes) -> bytes | None:
            changed = False

            def noting(element: bytes) -> bytes | None:
                nonlocal changed
                fresh = member(element)
                changed |= fresh != element
                return fresh

            fresh = rebuild(value, noting)
            return fresh if changed else value

        return shaped

    def line(self, line: bytes, codec: str | None) -> bytes:
        """A line of a COPY; what can't be read is left out, its end stays."""
        try:
            return self._careful(self.text, False, codec)(line) or b""
        except UNSHAPED:
            return b"\n" if line.endswith(b"\n") else b""

    def text(self, text: str) -> str | None:
        """`text` with all that was found masked; None when nothing was."""
        pieces: list[str] = []
        at = 0
        for start, end, kind in self._detector.find(text):
            mask = self._masks.get(kind)
            if mask is None:
                continue
            pieces += (text[at:start], mask(text[start:end]) or "")
            at = end
            self.kinds.add(kind)
        return "".join((*pieces, text[at:])) if pieces else None

    def _json(self, text: str) -> str | None:
        if not self._detector.find(text) and "\\" not in text:
            return None

        def leaf(part: str, _: jsons.Path) -> str | None:
            fresh = self.text(part)
            return None if fresh is None else json.dumps(fresh)

        try:
            return jsons.rewrite(text, leaf, keys=True)
        except UNSHAPED:
            return self.text(text)
