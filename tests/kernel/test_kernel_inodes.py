"""What the kernel calls a file, also where stat(2) calls it something else."""

from __future__ import annotations

import os

from hostguard.kernel.inodes import kernel_key

TELL = """
import os, sys
from hostguard.kernel.inodes import kernel_key
with open(sys.argv[1], "rb") as file:
    facts = os.fstat(file.fileno())
    print(*kernel_key(file.fileno()), facts.st_ino, os.major(facts.st_dev) << 20 | os.minor(facts.st_dev))
"""


def test_on_a_plain_file_system_it_is_what_stat_says() -> None:
    with open("/dev/shm/hostguard-test-key", "w+b") as file:
        os.unlink(file.name)
        assert kernel_key(file.fileno()) == (0, 0)
        file.write(b"x")
        file.flush()
        facts = os.fstat(file.fileno())
        assert kernel_key(file.fileno()) == (facts.st_ino, os.major(facts.st_dev) << 20 | os.minor(facts.st_dev))


def test_what_can_not_be_mapped_has_none() -> None:
    with open("/dev/null", "rb") as file:
        assert kernel_key(file.fileno()) == (0, 0)
