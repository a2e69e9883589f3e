"""A guarded corner of this host: a cgroup that the test made, a configuration, and the daemon that guards it.

Everything lies in folders of the test's own and is gone when the context ends, also when the test failed: the daemon, the pins,
the cgroups with whatever still runs in them. The hooks are attached to the test's cgroup, never above it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import forked
from guarded_cgroups import attach_root, pin_directory

from hostguard.agent.client import Client, DaemonDown
from hostguard.kernel import cgroups

HOSTGUARD = str(Path(sys.executable).with_name("hostguard"))
START_LIMIT_S = 100
"""Below what pytest gives a test; a start takes eight seconds of the processor, which others may want as well."""
STOP_LIMIT_S = 20
UP = "hostguard guards"
"""How the line begins that the daemon prints once it guards."""


@dataclass(frozen=True, slots=True)
class Agent:
    """A workload with the agent of the same name."""

    roles: tuple[str, ...] = ()
    owner: str = "alice"
    mode: str = "enforce"
    """Of the workload."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a guard has its things."""

    folder: Path
    cgroup: Path
    pins: Path


class Configuration(Protocol):
    """What a guard runs on."""

    def files(self, place: Place) -> Mapping[str, str]:
        """Names and texts of the files; ``hostguard.toml`` is among them."""
        ...


@dataclass(frozen=True, slots=True)
class Setup:
    """What is particular to one test's configuration; everything else is as in examples/shop."""

    agents: Mapping[str, Agent]
    resources: Mapping[str, str]
    """Name to address (``127.0.0.1:5432``)."""
    policies: str
    tags: str = ""
    """The ``[tags.…]`` tables as they stand in the file."""
    workloads: str = ""
    """The ``[workloads.…]`` tables, with ``BELOW`` for the test's own cgroup; instead of one cgroup for each agent."""
    tables: str = ""
    """More tables, such as resources of another protocol."""
    timeout_s: int = 60
    durability: str = "batch"
    workers: int = 1
    """Each costs a start of its own, so more than one only where several are what the test is about. 0: one for each core."""
    log: str = ""
    """More lines of ``[log]``."""
    server_tls: str = "off"
    """Of the resources: most tests' servers have none, wherever they are."""
    limits: str = ""
    """Lines of ``[limits]``."""

    def files(self, place: Place) -> Mapping[str, str]:
        """The configuration file, with the policies beside it."""
        return {"hostguard.toml": self._toml(place), "policies.cedar": self.policies}

    def _toml(self, place: Place) -> str:
        below = place.cgroup.relative_to(cgroups.mount_point())
        workloads = self.workloads.replace("BELOW", str(below)) or "".join(
            f'[workloads.{name}]\ncgroup = "{below}/{name}"\nagent = "{name}"\nmode = "{agent.mode}"\n'
            for name, agent in self.agents.items()
        )
        agents = "".join(
            f'[agents.{name}]\nroles = {json.dumps(list(agent.roles))}\nowner = "{agent.owner}"\n'
            for name, agent in self.agents.items()
        )
        resources = "".join(
            f'[resources.{name}]\nprotocol = "postgres"\naddresses = ["{address}"]\nserver_tls = "{self.server_tls}"\n'
            for name, address in self.resources.items()
        )
        return f"""
[daemon]
state_dir = "{place.folder}/state"
run_dir = "{place.folder}/run"
pin_dir = "{place.pins}"
attach = "{place.cgroup}"
workers = {self.workers}

[log]
durability = "{self.durability}"
{self.log}

[limits]
{self.limits}

[policy]
files = ["policies.cedar"]

[approvals]
timeout_s = {self.timeout_s}

[users.alice]
groups = ["owners"]

[users.bob]
unix = ["root"]
groups = ["dba"]

{workloads}
{agents}
{resources}
{self.tags}
{self.tables}
"""


@dataclass(slots=True)
class Guard:
    """A configuration in its own folder, and the daemon that may run on it."""

    folder: Path
    cgroup: Path
    pins: Path
    prefix: tuple[str, ...] = ()
    """The beginning of the command that runs the daemon: what confines it, or where it runs (``nsenter``)."""
    process: subprocess.Popen[str] | None = None
    lines: list[str] = field(default_factory=list)
    """What the daemons of this guard printed, stderr included."""

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "hostguard.toml"

    def start(self, *, degraded: bool = False) -> None:
        """Start the daemon; returns once it says that it guards. Raises RuntimeError with its words if it doesn't.

        `degraded`: the test means it to have problems, which ``status`` tells.
        """
        up = self.launch().wait(START_LIMIT_S)
        if not up or not (self.lines[-1].startswith(UP) if degraded else self.is_guarding()):
            raise RuntimeError("the daemon did not start:\n" + "".join(self.lines) + self.cli("status").stdout)

    def launch(self) -> threading.Event:
        """Begin to start the daemon; the event is set once it says that it guards, or ends."""
        command: list[str | Path] = [*self.prefix, HOSTGUARD, "daemon", "--config", self.config]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/"
        )
        up = threading.Event()
        threading.Thread(target=self._listen, args=(self.process, up), daemon=True).start()
        return up

    def _listen(self, process: subprocess.Popen[str], up: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.append(line)
            if line.startswith(UP):
                up.set()
        up.set()

    def is_guarding(self) -> bool:
        """Whether its status is that of a guard that holds, which ``hostguard status`` says by its exit code."""
        try:
            return bool(self.status()["state"] == "guarding")
        except DaemonDown:
            return False

    def stop(self) -> int:
        """Ask the daemon to end, as systemd would; returns its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_LIMIT_S)

    def kill(self) -> None:
        """Kill the daemon with -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(STOP_LIMIT_S)

    def cli(self, *arguments: str | Path, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``hostguard ARGUMENTS --config …`` and return how it went."""
        command = [HOSTGUARD, *arguments, "--config", self.config]
        return forked.run(command, text=text)

    def ask(self, *arguments: str) -> Any:
        """The answer of a command with ``--json``. Raises RuntimeError with its words if it failed."""
        result = self.cli(*arguments, "--json")
        if result.returncode != 0:
            raise RuntimeError(f"hostguard {' '.join(arguments)}: {result.stderr or result.stdout}")
        return json.loads(result.stdout)

    def ask_degraded(self) -> Any:
        """What ``hostguard status`` tells, whether or not all is well."""
        return json.loads(self.cli("status", "--json").stdout)

    def operations(self) -> int:
        """How many operations the daemon has judged so far; asked on its control socket, since it is asked often."""
        return sum(self.status()["operations"].values())

    def status(self) -> Any:
        """What ``hostguard status --json`` shows, asked on the control socket."""
        return Client(self.folder / "run" / "control.sock").get("/v1/status")

    def workers(self) -> list[int]:
        """Process ids of the workers that serve."""
        return [worker["pid"] for worker in self.status()["workers"]["running"] if worker["ready"]]

    def processes(self) -> list[int]:
        """Process ids of the supervisor, then of its workers."""
        assert self.process is not None
        return [self.process.pid, *self.workers()]

    def command(self, workload: str, program: Sequence[str | Path]) -> list[str | Path]:
        """The command that runs a program as a guarded workload."""
        return [HOSTGUARD, "exec", "--config", self.config, "--workload", workload, "--", *program]

    def run(
        self, workload: str, program: Sequence[str | Path], environment: Mapping[str, str], text: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a program as a guarded workload to its end."""
        command = self.command(workload, program)
        return forked.run(command, {**os.environ, **environment}, text, timeout=100)

    def begin(self, workload: str, program: Sequence[str | Path], environment: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start a program as a guarded workload; what still runs when the guard ends is killed with its cgroup."""
        return forked.Command(self.command(workload, program), {**os.environ, **environment}, subprocess.PIPE)

    def end(self) -> None:
        """End the daemon, if one runs, whatever state it is in."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()


Running = AbstractContextManager[Guard]
"""What `guarding` and `prepared` return."""


@contextmanager
def prepared(setup: Configuration, prefix: tuple[str, ...] = ()) -> Iterator[Guard]:
    """A guard whose daemon does not run yet; `prefix` as in `Guard`."""
    # In the order of undoing: the agents end before the hooks that guard them do.
    with pin_directory() as pins, attach_root() as cgroup, tempfile.TemporaryDirectory(prefix=f"{cgroup.name}-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        guard = Guard(folder, cgroup, pins, prefix)
        for file, text in setup.files(Place(folder, cgroup, pins)).items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_text(text)
        try:
            yield guard
        finally:
            guard.end()


@contextmanager
def guarding(setup: Configuration) -> Iterator[Guard]:
    """A guard whose daemon runs."""
    with prepared(setup) as guard:
        guard.start()
        yield guard
