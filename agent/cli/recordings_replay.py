"""``hostguard recordings replay``: a flow in the terminal as it went on, with the hand on the speed."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from .asking import daemon_option, payloads_option
from .identity import identity_option
from .options import config_option
from .output import err, fail
from .recordings_load import load
from .timeline import print_end, print_head, print_item

# What terminals send (ECMA-48 cursor keys); each key by itself as well.
KEYS = {
    b" ": "pause", b"n": "step", b"\r": "step", b"\x1b[C": "step", b"+": "faster", b"=": "faster", b"\x1b[A": "faster",
    b"-": "slower", b"\x1b[B": "slower", b"q": "quit", b"\x1b": "quit", b"\x04": "quit",
}  # fmt: skip
KEY_BYTES = 16
MIN_SPEED, MAX_SPEED = 0.001, 1000.0


class Stopped(Exception):
    """The person watching has seen enough."""


class Player:
    """Waits between items as the keys say: space pauses, n or → shows the next item, ↑ ↓ change the speed, q ends."""

    def __init__(self, speed: float, max_pause_s: float, keyboard: int | None) -> None:
        """`keyboard`: descriptor to read keys from; None where nobody sits."""
        self._speed = speed
        self._max_pause_s = max_pause_s
        self._keyboard = keyboard
        self._paused = False

    def wait(self, pause_s: float) -> None:
        """Let the time between two items pass: `pause_s` at normal speed, at most `max_pause_s` on the clock. Raises Stopped."""
        left_s = pause_s
        while left_s > 0 or self._paused:
            began = time.monotonic()
            wall_s = None if self._paused else min(self._max_pause_s, left_s / self._speed)
            key = self._key(wall_s)
            if key is None:
                return
            if not self._paused:
                left_s -= (time.monotonic() - began) * self._speed
            if self._obey(key):
                return

    def _key(self, timeout_s: float | None) -> str | None:
        """What the next key means, empty for nothing; None when the time is over first."""
        if self._keyboard is None:
            time.sleep(timeout_s or 0)
            return None
        if not select.select([self._keyboard], [], [], timeout_s)[0]:
            return None
        data = os.read(self._keyboard, KEY_BYTES)
        return KEYS.get(data, "" if data else "quit")

    def _obey(self, key: str) -> bool:
        """Do what the key says; True when the next item is to be shown at once."""
        match key:
            case "pause":
                self._paused = not self._paused
                err.print("paused: space goes on, n or → steps, q ends" if self._paused else "goes on", style="dim")
            case "faster" | "slower":
                factor = 2 if key == "faster" else 0.5
                self._speed = min(MAX_SPEED, max(MIN_SPEED, self._speed * factor))
                err.print(f"speed {self._speed:g}", style="dim")
            case "quit":
                raise Stopped
        return key == "step"


@click.command("replay")
@click.argument("flow", type=int)
@click.option("--speed", type=click.FloatRange(MIN_SPEED), default=1.0, show_default=True, help="Times as fast as it was.")
@click.option("--max-pause", type=click.FloatRange(0), default=3.0, show_default=True, help="Seconds that no pause exceeds.")
@payloads_option
@daemon_option
@identity_option
@config_option
def replay(
    config: Path, identity: tuple[Path, ...], by_daemon: bool, payloads: bool, flow: int, speed: float, max_pause: float
) -> None:
    """Replay one flow in the terminal, with the pauses that it had.

    Keys: space pauses and goes on, n or → shows what comes next, ↑ and ↓ (+ and -) change the speed, q ends.
    """
    found = load(config, flow, identity, payloads=payloads, by_daemon=by_daemon)
    print_head(found)
    previous_us = 0
    try:
        with _keyboard() as keyboard:
            player = Player(speed, max_pause, keyboard)
            for item in found.items:
                player.wait((item.offset_us - previous_us) / 1e6)
                previous_us = max(previous_us, item.offset_us)
                print_item(item)
    except (KeyboardInterrupt, Stopped):
        fail("replay stopped")
        return
    print_end(found)


@contextmanager
def _keyboard() -> Iterator[int | None]:
    """The terminal's keys one by one, without their echo; as it was before afterwards."""
    if not sys.stdin.isatty():
        yield None
        return
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield descriptor
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
