"""The certificate that browsers are shown, replaced without a restart by a process that has no files.

The ssl module reads certificates only from files. What it gets is a memfd by its name in /proc/self/fd, which stays within
reach of the process itself behind Landlock: it is in no file system that anybody can see. It is emptied once it was read.
"""

from __future__ import annotations

import os
import ssl


class Showing:
    """Made before the cage is closed."""

    def __init__(self) -> None:
        self._memfd = os.memfd_create("hostguard-certificate", os.MFD_CLOEXEC)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.context.set_alpn_protocols(["http/1.1"])

    def take(self, pem: bytes) -> None:
        """Show this to who connects from now on. Raises ssl.SSLError, ValueError for what is no key with its certificate."""
        os.truncate(self._memfd, 0)
        os.pwrite(self._memfd, pem, 0)
        try:
            self.context.load_cert_chain(f"/proc/self/fd/{self._memfd}")
        finally:
            os.truncate(self._memfd, 0)
