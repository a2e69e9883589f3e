"""What this host offers of that which the redirect needs."""

from __future__ import annotations

import errno
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import bcc, cgroups, libbpf
from .errors import KernelError
from .hooks import HOOKS, Place
from .mounts import BPF_MOUNT, mounts, tracefs

BTF = Path("/sys/kernel/btf/vmlinux")
LOCKDOWN = Path("/sys/kernel/security/lockdown")
LSM = Path("/sys/kernel/security/lsm")
IO_URING = Path("/proc/sys/kernel/io_uring_disabled")
IF_INET6 = Path("/proc/net/if_inet6")

# include/uapi/linux/capability.h. PERFMON: reading kernel structs through BTF; DAC_READ_SEARCH: cgroup ids to paths.
CAPABILITIES = {"CAP_DAC_READ_SEARCH": 2, "CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}
OLDEST_KERNEL = (5, 19)
"""bpf_setsockopt may unbind a device without CAP_NET_RAW since 5.19; bpf_set_retval is from 5.18, cgroup.kill from 5.14."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that `hostguard doctor` looks at."""

    name: str
    ok: bool
    detail: str
    """What was found."""
    remedy: str
    """What to do about it; empty when all is well."""
    required: bool = True
    """Without it nothing is guarded; the others only add to what can be enforced."""


def features() -> list[Feature]:
    """All checks, in the order in which one would mend them. Attaches nothing, pins nothing."""
    checks: list[Callable[[], Feature]] = [_privileges, _kernel, _cgroup2, _bpffs, _btf, _libbpf, _lockdown]
    return [*(check() for check in checks), *(_hook(name) for name in HOOKS), _second_loader(), _io_uring(), _ipv6(), _lsm()]


def _privileges() -> Feature:
    status = Path("/proc/self/status").read_text()
    effective = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)
    missing = [name for name, bit in CAPABILITIES.items() if not effective >> bit & 1]
    detail = f"uid {os.geteuid()}, " + (f"without {', '.join(missing)}" if missing else "all capabilities that are needed")
    return Feature("privileges", not missing, detail, "run as root" if missing else "")


def _kernel() -> Feature:
    release = platform.release()
    try:
        major, minor = (int("".join(filter(str.isdigit, part))) for part in release.split(".")[:2])
    except ValueError:
        return Feature("kernel", False, f"release {release} is not understood", "use a kernel with a usual release number")
    oldest = ".".join(map(str, OLDEST_KERNEL))
    ok = (major, minor) >= OLDEST_KERNEL
    return Feature("kernel", ok, release, "" if ok else f"install kernel {oldest} or newer")


def _cgroup2() -> Feature:
    try:
        return Feature("cgroup2", True, f"mounted at {cgroups.mount_point()}", "")
    except KernelError as error:
        return Feature("cgroup2", False, str(error), "boot with systemd.unified_cgroup_hierarchy=1, or mount cgroup2")


def _bpffs() -> Feature:
    found = mounts("bpf")
    if found:
        return Feature("bpf file system", True, f"mounted at {found[0].path}", "")
    if BPF_MOUNT.is_dir():
        return Feature("bpf file system", True, f"not mounted; the daemon mounts it at {BPF_MOUNT}", "")
    return Feature("bpf file system", False, f"{BPF_MOUNT} does not exist", "mount sysfs, with CONFIG_BPF_SYSCALL in the kernel")


def _btf() -> Feature:
    if BTF.exists():
        return Feature("kernel BTF", True, str(BTF), "")
    return Feature("kernel BTF", False, f"{BTF} is missing", "install a kernel built with CONFIG_DEBUG_INFO_BTF=y")


def _libbpf() -> Feature:
    return Feature("libbpf", True, libbpf.version(), "")


def _lockdown() -> Feature:
    """Programs that only dereference BTF pointers load in every mode; the mode is told because it explains other refusals."""
    try:
        modes = LOCKDOWN.read_text().strip()
    except OSError as error:
        return Feature("lockdown", True, f"not known: {LOCKDOWN}: {error.strerror}", "", required=False)
    mode = modes.partition("[")[2].partition("]")[0]
    return Feature("lockdown", True, mode, "", required=False)


def _hook(name: str) -> Feature:
    """Load the hook's program alone, attach it nowhere."""
    title, place = f"hook {name}", HOOKS[name]
    try:
        with libbpf.Object(place.path) as loaded:
            loaded.only({f"hg_{name}"})
            if place.retyped:
                loaded.set_attach_type(f"hg_{name}", place.attach_type)
            loaded.load()
    except KernelError as error:
        if error.errno in (errno.EPERM, errno.EACCES) and os.geteuid():
            return Feature(title, False, "not allowed to load eBPF programs", "run as root", place.required)
        remedy = place.remedy or "see the verifier's log; the kernel may be too old or locked down"
        return Feature(title, False, str(error), remedy, place.required)
    missing = _missing_tracepoint(place)
    return Feature(title, not missing, missing or "loads", place.remedy if missing else "", place.required)


def _missing_tracepoint(place: Place) -> str:
    """Why the hook's tracepoint can't be found; empty when it can, or when nobody can tell before tracefs is mounted."""
    mounted = tracefs()
    if not place.tracepoint or mounted is None or (mounted / "events" / place.tracepoint / "id").exists():
        return ""
    return f"no tracepoint {place.tracepoint} in {mounted} (CONFIG_FTRACE_SYSCALLS)"


def _second_loader() -> Feature:
    try:
        return Feature("second loader", True, bcc.version(), "", required=False)
    except KernelError:
        detail = f"bcc is not installed; only needed where a hook above does not load: {bcc.REMEDY}"
        return Feature("second loader", True, detail, "", required=False)


def _io_uring() -> Feature:
    """Told because io_uring makes sockets behind seccomp's back: where it is off, nothing has to watch it."""
    try:
        disabled = int(IO_URING.read_text())
    except (OSError, ValueError):
        return Feature("io_uring", True, "not in this kernel", "", required=False)
    meanings = {0: "open to all processes; the hook uring_submit watches it", 1: "for privileged processes", 2: "off"}
    return Feature("io_uring", True, meanings.get(disabled, str(disabled)), "", required=False)


def _ipv6() -> Feature:
    if IF_INET6.exists():
        return Feature("IPv6", True, "in use", "", required=False)
    return Feature("IPv6", True, "off; guarded IPv6 connects are refused", "", required=False)


def _lsm() -> Feature:
    try:
        active = LSM.read_text().strip().split(",")
    except OSError as error:
        return Feature("BPF LSM", False, f"not known: {LSM}: {error.strerror}", "mount securityfs to know", required=False)
    ok = "bpf" in active
    return Feature("BPF LSM", ok, ",".join(active), "" if ok else "boot with lsm=…,bpf", required=False)
