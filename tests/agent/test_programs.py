"""Programs whose files are replaced while they run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from hostguard.agent.programs import Programs


class Filed:
    """What a kernel would have been told last: inodes to numbers."""

    def __init__(self) -> None:
        self.inodes: dict[int, int] = {}

    def set_programs(self, wanted: Mapping[Path, int]) -> None:
        self.inodes = {path.stat().st_ino: number for path, number in wanted.items()}


def test_a_replaced_program_stays_filed_until_nobody_runs_it(tmp_path: Path) -> None:
    path, kernel = tmp_path / "agent", Filed()
    programs = Programs(kernel, {str(path): 3, str(tmp_path / "not there"): 4})
    programs.refresh()
    assert kernel.inodes == {}
    path.write_bytes(Path("/bin/cat").read_bytes())
    path.chmod(0o755)
    old = path.stat().st_ino
    programs.refresh()
    assert kernel.inodes == {old: 3}
    running = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(b"r")
        running.stdin.flush()
        assert running.stdout.read(1) == b"r"
        path.unlink()
        path.write_bytes(b"new")
        new = path.stat().st_ino
        assert new != old
        programs.refresh()
        assert kernel.inodes == {old: 3, new: 3}
    finally:
        running.kill()
        running.communicate()
    programs.refresh()
    assert kernel.inodes == {new: 3}
    before = len(os.listdir("/proc/self/fd"))
    programs.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1
