"""The unit's restrictions around a real daemon, and an installation on a living host that leaves nothing behind.

There is no systemd here: `unit_cage` applies what the unit says by plain tools. The living host is this one below an overlay, in
a mount namespace of the test's own, so that nothing is written to it.
"""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import guard
import pytest
import unit_cage
from guarded_cgroups import attach_root, pin_directory
from servers import Server

from hostguard.agent.install.parts import TEXTS
from hostguard.kernel import cgroups

UNIT = TEXTS / "hostguard.service"
GRANTED = unit_cage.settings(UNIT)["CapabilityBoundingSet"][0].split()
CLONE = Path(__file__).resolve().parent.parent.parent
JAVA = Path("/etc/ca-certificates/update.d/jks-keystore").exists()
"""Whether Debian keeps a store for Java here."""
POLICIES = '@id("bot reads") permit (principal in Role::"bot", action, resource);'

# $1 a folder, $2 the command, $3 the clone, $4 pins, $5 attach point, $6 the workload's cgroup below the mount. What the overlay
# holds afterwards that the host does not is what hostguard has left on it.
LIVE = r"""
set -euo pipefail
scratch=$1 hostguard=$2 clone=$3 pins=$4 attach=$5 cgroup=$6
mount --make-rprivate /
mount -t tmpfs none "$scratch"
mkdir "$scratch"/upper "$scratch"/work "$scratch"/host
mount -t overlay none -o "lowerdir=/,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/host"
for place in /proc /sys /dev "$clone"; do mount --rbind "$place" "$scratch/host$place"; done
inside() { chroot "$scratch/host" "$@"; }
changed() {
    (cd "$scratch/upper"; find . \( -not -type d -not -type c -o -name '*hostguard*' \) -printf '/%P\n') | sort |
        while read -r path; do cmp -s "$scratch/upper$path" "$path" || echo "$path"; done
}
inside "$hostguard" install
inside "$hostguard" install | grep -v '^same' || true
echo "== trusted"
inside "$hostguard" ca show --json
java() { inside keytool -list -keystore /etc/ssl/certs/java/cacerts -storepass changeit 2>&1 | grep -c hostguard || true; }
echo "java: $(java)"
echo "== installed"
changed
inside getent passwd hostguard
toml=/etc/hostguard/hostguard.toml
sed -i "s#^pin_dir = .*#pin_dir = \"$pins\"\nattach = \"$attach\"#" "$scratch/host$toml"
cat >>"$scratch/host$toml" <<TOML
[agents.bot]
owner = "admin"
[workloads.bot]
cgroup = "$cgroup"
agent = "bot"
TOML
mkfifo "$scratch/said"
chroot "$scratch/host" "$hostguard" daemon >"$scratch/said" &
daemon=$!
trap 'kill -9 $daemon 2>/dev/null || true' EXIT
exec 3<"$scratch/said"
read -r said <&3
echo "$said"
inside "$hostguard" exec --workload bot -- /bin/echo guarded
inside "$hostguard" uninstall 2>&1 || true
kill $daemon
wait $daemon
inside "$hostguard" uninstall --purge
echo "== left"
changed
echo "java: $(java)"
inside getent passwd hostguard || echo "no user"
"""


@contextmanager
def unit_guard(server: Server) -> Iterator[guard.Guard]:
    """A guard whose daemon runs as the unit would run it."""
    setup = guard.Setup({"bot": guard.Agent(("bot",))}, {"db": f"{server.host}:{server.port}"}, policies=POLICIES)
    with guard.prepared(setup) as made:
        made.prefix = unit_cage.prefix(UNIT, made.folder)
        yield made


def psql(running: guard.Guard, server: Server, statement: str) -> str:
    result = running.run("bot", ["/usr/bin/psql", "-Atc", statement], server.environment())
    return (result.stdout or result.stderr).strip()


def capabilities(field: str, status: dict[str, str]) -> set[str]:
    """The names in a field of /proc/PID/status."""
    said = subprocess.run(["capsh", f"--decode={status[field].strip()}"], capture_output=True, text=True, check=True).stdout
    return {name.upper() for name in said.strip().partition("=")[2].split(",")}


def test_the_daemon_guards_with_exactly_what_the_unit_grants(postgres15: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with unit_guard(postgres15) as running, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(running.folder / "notify"))
        manager.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", manager.getsockname())
        monkeypatch.setenv("WATCHDOG_USEC", "2000000")
        running.start()
        assert manager.recv(4096) == b"READY=1"
        assert manager.recv(4096).startswith(b"WATCHDOG=1\nSTATUS=guarding: 1 workloads, 0 flows")
        assert psql(running, postgres15, "SELECT 41 + 1") == "42"
        assert running.process is not None
        text = Path(f"/proc/{running.process.pid}/status").read_text()
        status = dict(line.split(":\t", 1) for line in text.splitlines())
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
        assert capabilities("CapEff", status) == capabilities("CapBnd", status) == set(GRANTED)
        running.process.send_signal(signal.SIGHUP)
        assert psql(running, postgres15, "SELECT 1") == "1"
        assert running.stop() == 0
        assert "Connection refused" in psql(running, postgres15, "SELECT 1")
        while manager.recv(4096) != b"STOPPING=1":
            pass


# CAP_SYS_ADMIN stands in for the newer, narrower ones (capabilities(7)).
@pytest.mark.parametrize("taken", [{"CAP_DAC_READ_SEARCH"}, {"CAP_SYS_ADMIN", "CAP_PERFMON"}])
def test_with_less_it_refuses_to_run(taken: set[str], tmp_path: Path) -> None:
    poorer = tmp_path / "poorer.service"
    left = [name for name in GRANTED if name not in taken]
    poorer.write_text(UNIT.read_text().replace(" ".join(GRANTED), " ".join(left)))
    with guard.prepared(guard.Setup({"bot": guard.Agent()}, {"db": "127.0.0.1:5432"}, policies=POLICIES)) as made:
        made.prefix = unit_cage.prefix(poorer, made.folder)
        with pytest.raises(RuntimeError, match="error: "):
            made.start()


def test_an_installation_on_this_host_can_be_taken_back_whole(tmp_path: Path) -> None:
    with pin_directory() as pins, attach_root() as root:
        mount = cgroups.mount_point()
        arguments = [str(tmp_path), guard.HOSTGUARD, str(CLONE), str(pins), str(root), f"{root.relative_to(mount)}/agents/bot"]
        command = ["unshare", "--mount", "bash", "-c", LIVE, "live", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, stdin=subprocess.DEVNULL)
        assert result.returncode == 0, result.stderr
        assert not pins.exists()
        assert not (root / "agents").exists()
    before, trusted, during, after = re.split("== .*\n", result.stdout)
    assert "run     useradd" in before
    assert "write   /usr/local/share/ca-certificates/hostguard-1.crt" in before
    assert '"in_system": true' in trusted
    assert ("java: 1\n" in trusted) == JAVA
    assert "/usr/local/lib/systemd/system/hostguard.service\n" in during
    assert "\nguarded\n" in during
    assert "error: the daemon runs" in during
    # useradd keeps a copy of what it changes; the hook for Java's store, which is written anew, works through dpkg.
    left = ["/etc/group-", "/etc/gshadow-", "/etc/passwd-", "/etc/shadow-"]
    hook = ["/etc/ssl/certs/java/cacerts", "/var/lib/dpkg/status-old", "/var/log/dpkg.log"] if JAVA else []
    assert after.split("\n")[:-1] == [*left, *hook, "java: 0", "no user"]
