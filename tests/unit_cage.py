"""Runs a command under what a systemd unit demands, as far as plain tools can: there is no systemd in a container.

``python unit_cage.py UNIT WRITABLE… -- CMD…``. From the unit: the bounding set of capabilities, NoNewPrivileges,
ProtectSystem=strict with the folders named here in place of its own, MemoryDenyWriteExecute, RestrictAddressFamilies,
RestrictNamespaces, SystemCallFilter.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pyseccomp

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
CLONE_NEW_OTHERS = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000
PR_SET_MDWE = 65
STAYS_WRITABLE = ("/proc", "/dev", "/sys/fs/cgroup", "/sys/fs/bpf")
"""What ProtectSystem=strict leaves alone, or the unit's ReadWritePaths= open again."""


def settings(unit: Path) -> dict[str, list[str]]:
    """The [Service] section: all values of each key, in order."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in unit.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def prefix(unit: Path, *writable: Path) -> tuple[str, ...]:
    """The beginning of a command line that runs its rest in the cage."""
    return (sys.executable, __file__, str(unit), *map(str, writable), "--")


def calls_of(values: Iterable[str]) -> tuple[set[str], set[str]]:
    """The calls that SystemCallFilter= lines allow, those they deny; groups written out."""
    allowed: set[str] = set()
    denied: set[str] = set()
    for value in values:
        names = denied if value.startswith("~") else allowed
        for word in value.removeprefix("~").split():
            names |= _group(word) if word.startswith("@") else {word}
    return allowed - denied, denied


def _group(name: str) -> set[str]:
    text = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout
    words = [line.strip() for line in text.splitlines()[1:] if line.strip() and not line.strip().startswith("#")]
    # The manager allows the way into the program in any case (systemd.exec(5), SystemCallFilter=).
    found = {word for word in words if not word.startswith("@")}
    return found.union(*(_group(word) for word in words if word.startswith("@")))


def call_filter(unit: dict[str, list[str]]) -> pyseccomp.SyscallFilter:
    """The filter that systemd would load."""
    allowed, _ = calls_of(unit["SystemCallFilter"])
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    for name in sorted(allowed - {"socket", "setns", "unshare", "clone", "clone3"}):
        try:
            rules.add_rule(pyseccomp.ALLOW, name)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EFAULT):  # a call of another machine
                raise
    for family in unit["RestrictAddressFamilies"][0].split():
        rules.add_rule(pyseccomp.ALLOW, "socket", pyseccomp.Arg(0, pyseccomp.EQ, getattr(socket, family)))
    assert unit["RestrictNamespaces"] == ["net"]
    for name, argument in (("setns", 1), ("unshare", 0)):
        rules.add_rule(pyseccomp.ALLOW, name, pyseccomp.Arg(argument, pyseccomp.EQ, CLONE_NEWNET))
    rules.add_rule(pyseccomp.ALLOW, "clone", pyseccomp.Arg(0, pyseccomp.MASKED_EQ, CLONE_NEW_OTHERS, 0))
    # Its flags lie in memory: systemd has programs fall back to clone().
    rules.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")
    return rules


def make_read_only(writable: list[str]) -> None:
    """Everything, in a mount namespace of our own, but `writable` and what the kernel's interfaces need."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    mount("--make-rprivate", "/")
    for folder in writable:
        mount("--bind", folder, folder)
    stays = (*STAYS_WRITABLE, *writable)
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    for point in points:
        if not any(point == place or point.startswith(f"{place}/") for place in stays):
            mount("-o", "remount,bind,ro", point)


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def main() -> None:
    """Close the cage, run the command in it."""
    border = sys.argv.index("--")
    unit = settings(Path(sys.argv[1]))
    rules = call_filter(unit)
    make_read_only(sys.argv[2:border])
    libc = ctypes.CDLL(None, use_errno=True)
    assert unit["MemoryDenyWriteExecute"] == ["yes"]
    if libc.prctl(PR_SET_MDWE, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_MDWE")
    rules.load()
    kept = [f"+{name.removeprefix('CAP_').lower()}" for name in unit["CapabilityBoundingSet"][0].split()]
    os.execvp(
        "setpriv",
        ["setpriv", "--no-new-privs", "--inh-caps=-all", f"--bounding-set=-all,{','.join(kept)}", *sys.argv[border + 1 :]],
    )


if __name__ == "__main__":
    main()
