"""The one error of this room."""

from __future__ import annotations

import errno
import os


class KernelError(Exception):
    """The kernel, or what this host offers of it, did not do what was asked.

    `errno` is the kernel's number (0 where there is none), `subject` the hook, map or path concerned, `message` what was
    attempted, with libbpf's own log behind it where there is one.
    """

    def __init__(self, number: int, subject: str, message: str) -> None:
        self.errno = abs(number)
        self.subject = subject
        self.message = message
        cause = f" ({errno.errorcode.get(self.errno, self.errno)}: {os.strerror(self.errno)})" if self.errno else ""
        super().__init__(f"{subject}: {message}{cause}")

    @classmethod
    def of(cls, error: OSError, subject: str, message: str) -> KernelError:
        """The same for an error that a system call of Python's raised."""
        return cls(error.errno or 0, subject, message)
