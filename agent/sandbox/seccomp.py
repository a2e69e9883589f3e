"""The system calls that a worker may make, as a filter for the kernel.

The supervisor has libseccomp compile the list once (`compiled`); a worker only installs the result (`install`) and needs no
library for it. Three answers: what is listed runs; what is not listed fails with EPERM, because a library of ours may try it
and do without; and what only an intruder would call (`FORBIDDEN`) ends the process at once, so that it is seen.

Arguments matter where a harmless call has a harmful use:
- ``sendto`` and ``sendmsg`` with MSG_FASTOPEN connect a socket that was closed to any address, without ``connect`` (tcp(7)).
- ``mmap`` and ``mprotect`` with PROT_EXEC bring new code in.
- ``fcntl`` can have signals sent to others (F_SETOWN); ``ioctl`` is a world of its own.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import termios
from collections.abc import Callable
from typing import Any

from . import libc

ALLOWED = (
    # bytes of the flows, messages of the supervisor
    "read", "write", "readv", "writev", "recvfrom", "recvmsg", "close", "shutdown",
    "getsockname", "getpeername", "getsockopt", "setsockopt",
    # the event loop
    "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll",
    # memory, time, chance, the interpreter
    "munmap", "mremap", "madvise", "brk", "futex", "membarrier", "rseq", "set_robust_list", "sched_yield", "sched_getaffinity",
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall",
    "clock_gettime", "clock_nanosleep", "nanosleep", "gettimeofday", "time", "getrandom",
    "getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getrusage", "fstat",
    "exit", "exit_group",
)  # fmt: skip
FORBIDDEN = (
    "execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "bpf", "perf_event_open",
    "connect", "bind", "listen", "accept", "accept4", "sendmmsg", "kill", "tkill", "pidfd_send_signal", "pidfd_getfd",
    "mount", "umount2", "move_mount", "open_tree", "fsopen", "pivot_root", "chroot", "unshare", "setns",
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon",
    "open_by_handle_at", "name_to_handle_at", "add_key", "request_key", "keyctl", "userfaultfd",
    "setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "capset", "memfd_create",
)  # fmt: skip
_CLONE_THREAD = 0x00010000
_MSG_FASTOPEN = 0x20000000
_FCNTL = (fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL)
_IOCTL = (termios.FIONBIO, termios.FIONREAD, termios.FIOCLEX)
# include/uapi/linux/prctl.h
_SET_SECCOMP, _MODE_FILTER = 22, 2
INSTRUCTION_BYTES = 8


class NoSeccomp(Exception):
    """This host can't filter system calls; the message says why and what to do."""


class _Program(ctypes.Structure):
    """``struct sock_fprog`` (include/uapi/linux/filter.h)."""

    _fields_ = (("count", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def compiled() -> bytes:
    """The filter as ``struct sock_filter``s. Raises NoSeccomp."""
    return _compiled(lambda lib: lib.ERRNO(errno.EPERM), _fill)


def compiled_dialling() -> bytes:
    """A filter for a process that connects sockets by itself: what only an intruder would call ends it. Raises NoSeccomp."""

    def fill(made: Any, lib: Any) -> None:
        for name in FORBIDDEN:
            if name not in ("connect", "bind"):
                made.add_rule(lib.KILL_PROCESS, name)
        made.add_rule(lib.ERRNO(errno.EPERM), "io_uring_setup")

    return _compiled(lambda lib: lib.ALLOW, fill)


def compiled_asking() -> bytes:
    """The same for a process whose libraries look up names, and wait in threads; it can start no other. Raises NoSeccomp."""

    def fill(made: Any, lib: Any) -> None:
        for name in FORBIDDEN:
            if name not in ("connect", "bind", "sendmmsg"):
                made.add_rule(lib.KILL_PROCESS, name)
        _start_no_process(made, lib)
        made.add_rule(lib.ERRNO(errno.EPERM), "io_uring_setup")

    return _compiled(lambda lib: lib.ALLOW, fill)


def compiled_reading() -> bytes:
    """The same for a process that reads files: it can talk to nobody, and start no other. Raises NoSeccomp."""

    def fill(made: Any, lib: Any) -> None:
        for name in FORBIDDEN:
            if name != "memfd_create":
                made.add_rule(lib.KILL_PROCESS, name)
        _start_no_process(made, lib)
        for name in ("socket", "socketpair", "memfd_create", "io_uring_setup"):
            made.add_rule(lib.ERRNO(errno.EPERM), name)

    return _compiled(lambda lib: lib.ALLOW, fill)


def _start_no_process(made: Any, lib: Any) -> None:
    """Threads are none."""
    made.add_rule(lib.ERRNO(errno.EPERM), "clone", lib.Arg(0, lib.MASKED_EQ, _CLONE_THREAD, 0))
    # Its flags lie in memory, where no filter sees them; the C library then takes clone.
    made.add_rule(lib.ERRNO(errno.ENOSYS), "clone3")


def compiled_serving() -> bytes:
    """The same as `compiled_dialling` for a process that accepts connections, on a socket that listens. Raises NoSeccomp."""

    def fill(made: Any, lib: Any) -> None:
        for name in FORBIDDEN:
            if name not in ("connect", "accept", "accept4", "memfd_create"):
                made.add_rule(lib.KILL_PROCESS, name)
        for name in ("memfd_create", "io_uring_setup"):
            made.add_rule(lib.ERRNO(errno.EPERM), name)

    return _compiled(lambda lib: lib.ALLOW, fill)


def compiled_early() -> bytes:
    """A filter that forbids io_uring, through which calls pass unseen by filters: libuv would make one. Raises NoSeccomp."""
    return _compiled(lambda lib: lib.ALLOW, lambda made, lib: made.add_rule(lib.ERRNO(errno.EPERM), "io_uring_setup"))


def _compiled(otherwise: Callable[[Any], int], fill: Callable[[Any, Any], None]) -> bytes:
    try:
        import pyseccomp  # it looks for the library when it is imported
    except (ImportError, RuntimeError) as error:
        raise NoSeccomp(f"{error}: install the package libseccomp2") from None
    try:
        made = pyseccomp.SyscallFilter(otherwise(pyseccomp))
        fill(made, pyseccomp)
        # In memory: the unit leaves the daemon no folder for temporary files.
        with os.fdopen(os.memfd_create("hostguard-seccomp"), "w+b") as file:
            made.export_bpf(file)
            file.seek(0)
            return file.read()
    except (OSError, ValueError) as error:
        raise NoSeccomp(f"libseccomp can't make the filter: {error}") from None


def _fill(made: Any, lib: Any) -> None:
    def without(bits: int, argument: int) -> Any:
        return lib.Arg(argument, lib.MASKED_EQ, bits, 0)

    for name in ALLOWED:
        made.add_rule(lib.ALLOW, name)
    for name in FORBIDDEN:
        made.add_rule(lib.KILL_PROCESS, name)
    made.add_rule(lib.ALLOW, "mmap", without(mmap.PROT_EXEC, 2))
    made.add_rule(lib.ALLOW, "mprotect", without(mmap.PROT_EXEC, 2))
    made.add_rule(lib.ALLOW, "sendto", without(_MSG_FASTOPEN, 3))
    made.add_rule(lib.ALLOW, "sendmsg", without(_MSG_FASTOPEN, 2))
    for command in _FCNTL:
        made.add_rule(lib.ALLOW, "fcntl", lib.Arg(1, lib.EQ, command))
    for request in _IOCTL:
        made.add_rule(lib.ALLOW, "ioctl", lib.Arg(1, lib.EQ, request))


def install(program: bytes) -> None:
    """Have the kernel check every system call of this process from now on. Needs no_new_privs. Raises NoSeccomp."""
    loaded = _Program(len(program) // INSTRUCTION_BYTES, program)
    try:
        libc.prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.addressof(loaded))
    except OSError as error:
        raise NoSeccomp(f"the kernel does not take the filter: {error}") from None
