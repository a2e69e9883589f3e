"""The servers that the tests start are real, private to the test, and end with it."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import servers


def test_each_version_answers_and_names_itself(postgres18: servers.Server, postgres15: servers.Server) -> None:
    for running in (postgres18, postgres15):
        with running.connect() as connection:
            assert connection.info.server_version // 10_000 == running.version


def test_a_database_is_fresh_each_time(postgres18: servers.Server) -> None:
    for _ in range(2):
        with (
            postgres18.database("fresh", "CREATE TABLE t (); INSERT INTO t DEFAULT VALUES") as name,
            postgres18.connect(name) as connection,
        ):
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_nothing_is_left_when_it_stops() -> None:
    with servers.server(18) as running:
        folder = running.folder
        with running.connect() as connection:
            pid = connection.info.backend_pid
    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists()


def test_it_stops_when_its_starter_is_killed(tmp_path: Path) -> None:
    """The kernel's parent-death signal ends it; its files are what a kill leaves."""
    code = "import servers, sys, time\nwith servers.server(18) as s:\n print(s.folder, flush=True)\n sys.stdin.read()"
    environment = {**os.environ, "PYTHONPATH": str(Path(servers.__file__).parent), "TMPDIR": str(tmp_path)}
    tmp_path.chmod(0o755)
    for folder in (tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    starter = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    folder = Path(starter.stdout.readline().strip())
    (postmaster,) = Path(f"/proc/{starter.pid}/task/{starter.pid}/children").read_text().split()
    end = os.pidfd_open(int(postmaster))
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    ended, _, _ = select.select([end], [], [], 20)
    os.close(end)
    assert ended
    assert folder.is_relative_to(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as somebody else")
def test_it_starts_from_a_clone_in_a_closed_home(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = Path(tempfile.mkdtemp(prefix="closed-"))
    try:
        package = servers.wheel_binaries().parent.parent
        for part in (package.name, f"{package.name}.libs"):
            shutil.copytree(package.parent / part, closed / part, symlinks=True)
        binaries = closed / package.name / "pginstall" / "bin"
        monkeypatch.setattr(servers, "wheel_binaries", lambda: binaries)
        with servers.server(18) as running:
            assert running.bin != binaries
    finally:
        shutil.rmtree(closed)
