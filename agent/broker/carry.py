"""Links to servers that take a secret in their TLS, or right behind it: the broker speaks, the worker has plain bytes.

For a client certificate, whose key may not leave this process, and for a password that the server wants as it is. Whatever else
a server asks is the worker's to pass on (`logins`): it is forwarded as it comes. No link is carried to a server that was not
verified.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Iterator

from ...policy.credential_sections import VERIFIED
from ...protocols.postgres.binding import end_point
from ...protocols.postgres.login import Login, LoginRefused, Password
from .messages import Carry
from .secret import Secrets
from .sources import MAX_SECRET_BYTES
from .unreadable import Unreadable

SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""PostgreSQL 18 docs §54.7: length 8, code 80877103."""
HANDSHAKE_S = 10.0
CHUNK_BYTES = 64 << 10
MAX_LOGIN_MESSAGE_BYTES = 64 << 10
"""Of a server before it has let us in (fe-connect.c has 30000)."""
_OK, _CLEARTEXT = 0, 3


class NotCarried(Exception):
    """There is no link; says why, in a sentence without secrets."""


class Carrier:
    """Carries links; each lives until one of its ends is closed."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._pumps: set[asyncio.Task[None]] = set()

    async def carry(self, wanted: Carry, sock: socket.socket) -> tuple[socket.socket, str, bytes]:
        """The worker's end, what TLS there is, the end point of the server's certificate. `sock` is ours. Raises NotCarried."""
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                reader, writer = await self._encrypted(wanted, sock)
        except ssl.SSLCertVerificationError as error:
            raise NotCarried(f"{_refused(error)}; see the resource's server_roots, server_name") from None
        except ssl.SSLError as error:
            raise NotCarried(f"no TLS with the server: {error.reason or 'the handshake failed'}") from None
        except TimeoutError:
            raise NotCarried(f"no TLS with the server within {HANDSHAKE_S:.0f} s") from None
        except OSError as error:
            raise NotCarried(f"no TLS with the server: {error.strerror or 'the connection was closed'}") from None
        session = writer.get_extra_info("ssl_object")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        pump = asyncio.get_running_loop().create_task(self._pump(wanted.variant, reader, writer, ours))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)
        return theirs, f"{session.version()}, {wanted.mode}", end_point(session.getpeercert(binary_form=True)) or b""

    async def _encrypted(self, wanted: Carry, sock: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            context = await self._context(wanted)
            await loop.sock_sendall(sock, SSL_REQUEST)
            # One byte and no more: what a stranger stuffed behind it has to pass as a handshake (CVE-2021-23222).
            said = await loop.sock_recv(sock, 1)
            if said != b"S":
                raise NotCarried("the server has no TLS, without which hostguard sends it no secret")
        except BaseException:
            sock.close()
            raise
        # Without a name none is verified; the library wants to hear one all the same.
        return await asyncio.open_connection(
            sock=sock, ssl=context, server_hostname=wanted.name if context.check_hostname else ""
        )

    async def _context(self, wanted: Carry) -> ssl.SSLContext:
        if wanted.mode not in VERIFIED:
            raise NotCarried(f'a server that is not verified (server_tls = "{wanted.mode}") is sent no secret')
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.check_hostname = wanted.mode == "verify-full"
        context.verify_mode = ssl.CERT_REQUIRED
        context.set_alpn_protocols(["postgresql"])
        context.load_verify_locations(cadata=wanted.roots)
        credential = self._secrets.chosen[wanted.variant].credential
        secret = self._secrets.key(wanted.variant)
        if secret is not None:
            try:
                key = (await secret.have()).secret
                with (
                    open(credential.certificate, "rb") as file,
                    _path_of(file.read(MAX_SECRET_BYTES)) as chain,
                    _path_of(key) as own,
                ):
                    context.load_cert_chain(chain, own)
            except Unreadable as error:
                raise NotCarried(f"the key of {wanted.variant}'s certificate can't be read: {error}") from None
            except ssl.SSLError:
                raise NotCarried(f"{wanted.variant}'s certificate with its key is none: {credential.certificate}") from None
            except OSError as error:
                raise NotCarried(f"{wanted.variant}'s certificate: {error.filename}: {error.strerror}") from None
        return context

    # -- what is carried --------------------------------------------------------------------------------------------------------

    async def _pump(self, variant: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ours: socket.socket) -> None:
        """Both ways, until either side ends."""
        ways = [
            asyncio.create_task(_to_server(ours, writer)),
            asyncio.create_task(self._to_worker(variant, reader, writer, ours)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            ours.close()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _to_worker(
        self, variant: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ours: socket.socket
    ) -> None:
        loop = asyncio.get_running_loop()
        over = told = False
        while not over:
            head = await reader.readexactly(5)
            size = int.from_bytes(head[1:], "big") - 4
            if not 0 <= size <= MAX_LOGIN_MESSAGE_BYTES:
                return
            body = await reader.readexactly(size)
            code = int.from_bytes(body[:4], "big") if head[:1] == b"R" else -1
            if code == _CLEARTEXT:
                if told:
                    return
                told = True
                writer.write(await self._password(variant, body))
                await writer.drain()
                continue
            over = code == _OK or head[:1] == b"E"
            await loop.sock_sendall(ours, head + body)
        while data := await reader.read(CHUNK_BYTES):
            await loop.sock_sendall(ours, data)

    async def _password(self, variant: str, request: bytes) -> bytes:
        chosen = self._secrets.chosen[variant]
        secret = self._secrets.password(variant)
        methods = frozenset({"password"} if "cleartext" in chosen.credential.methods else ())
        try:
            password = Password(None if secret is None else (await secret.have()).secret)
            return Login(chosen.user, password, b"", methods=methods).answer(request).say
        except (LoginRefused, Unreadable) as error:
            raise ConnectionAbortedError(str(error)) from None


def _refused(error: ssl.SSLCertVerificationError) -> str:
    return f"the server's certificate is not accepted: {error.verify_message.rstrip('.')}"


async def _to_server(ours: socket.socket, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(ours, CHUNK_BYTES):
        writer.write(data)
        await writer.drain()


@contextlib.contextmanager
def _path_of(data: bytes) -> Iterator[str]:
    """A path at which the library reads this once, though it is in no file: the key's source may be anything."""
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        os.write(writing, data)  # a pipe holds 64 KiB, as much as a secret may have
        os.close(writing)
        yield f"/proc/self/fd/{reading}"
    finally:
        os.close(reading)
