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
from collections.abc import Callable, Iterator

from ...policy.credential_sections import VERIFIED
from ...protocols.postgres.binding import end_point
from ...protocols.postgres.login import Login, LoginRefused, Password
from .messages import Carry
from .secret import Secret, Secrets
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


class _NotLoggedIn(Exception):
    """There is a link, but no session; says why, without secrets."""


class Carrier:
    """Carries links; each lives until one of its ends is closed."""

    def __init__(self, secrets: Secrets, use: Callable[[int, Secret, int], None]) -> None:
        """`use`: told of a flow what its login took, in which version."""
        self._secrets = secrets
        self._use = use
        self._pumps: set[asyncio.Task[None]] = set()

    async def carry(self, wanted: Carry, sock: socket.socket) -> tuple[socket.socket, str, bytes]:
        """The worker's end, what TLS there is, the end point of the server's certificate. `sock` is ours. Raises NotCarried."""
        try:
            async with asyncio.timeout(HANDSHAKE_S):
                reader, writer = await self._encrypted(wanted, sock)
        except ssl.SSLCertVerificationError as error:
            raise NotCarried(f"{_refused(error)}; see the resource's server_roots, server_name") from None
        except ssl.SSLError as error:
            self._secrets.doubt(wanted.variant)  # a server of TLS 1.2 may not like the certificate
            raise NotCarried(f"no TLS with the server: {error.reason or 'the handshake failed'}") from None
        except TimeoutError:
            raise NotCarried(f"no TLS with the server within {HANDSHAKE_S:.0f} s") from None
        except OSError as error:
            raise NotCarried(f"no TLS with the server: {error.strerror or 'the connection was closed'}") from None
        session = writer.get_extra_info("ssl_object")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        pump = asyncio.get_running_loop().create_task(self._pump(wanted, reader, writer, ours))
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
        await self._certify(context, wanted)
        return context

    async def _certify(self, context: ssl.SSLContext, wanted: Carry) -> None:
        """Have the context show the variant's certificate, if it has one. Raises NotCarried."""
        variant = wanted.variant
        certificate, secret = self._secrets.chosen[variant].credential.certificate, self._secrets.key(variant)
        if secret is None:
            return
        try:
            with open(certificate, "rb") as file:
                chain = file.read(MAX_SECRET_BYTES)
            # Who puts a new certificate there has put its key there as well.
            key = await secret.have()
            if not _loaded(context, chain, key.secret):
                await secret.renew()
                key = await secret.have()
                if not _loaded(context, chain, key.secret):
                    raise NotCarried(f"{variant}'s certificate with its key is none: {certificate}")
        except Unreadable as error:
            raise NotCarried(f"the key of {variant}'s certificate can't be read: {error}") from None
        except OSError as error:
            raise NotCarried(f"{variant}'s certificate: {error.filename}: {error.strerror}") from None
        self._use(wanted.id, secret, key.number)

    # -- what is carried --------------------------------------------------------------------------------------------------------

    async def _pump(self, wanted: Carry, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ours: socket.socket) -> None:
        """Both ways, until either side ends."""
        spoken = asyncio.Event()
        ways = [
            asyncio.create_task(_to_server(ours, writer, spoken)),
            asyncio.create_task(self._to_worker(wanted, reader, writer, ours, spoken)),
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
        self,
        wanted: Carry,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ours: socket.socket,
        spoken: asyncio.Event,
    ) -> None:
        loop = asyncio.get_running_loop()
        try:
            await self._log_in(wanted, reader, writer, ours)
        except _NotLoggedIn as refused:
            await spoken.wait()  # a server that speaks first is none
            await loop.sock_sendall(ours, _refusal(str(refused)))
            return
        while data := await reader.read(CHUNK_BYTES):
            await loop.sock_sendall(ours, data)

    async def _log_in(
        self, wanted: Carry, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ours: socket.socket
    ) -> None:
        """Pass on what the server says until it has let us in, but for its request for a password. Raises _NotLoggedIn."""
        loop = asyncio.get_running_loop()
        over = told = False
        while not over:
            try:
                head, body = await _message(reader)
            except ssl.SSLError as error:  # a server of TLS 1.3 looks at the certificate when the handshake is over for us
                raise _NotLoggedIn(f"the server ends TLS: {error.reason or 'no reason'}") from None
            except asyncio.IncompleteReadError:
                raise _NotLoggedIn("the server closed the connection") from None
            code = int.from_bytes(body[:4], "big") if head[:1] == b"R" else -1
            if code == _CLEARTEXT:
                if told:
                    raise _NotLoggedIn("the server asks for the password twice")
                told = True
                writer.write(await self._password(wanted, body))
                await writer.drain()
                continue
            over = code == _OK or head[:1] == b"E"
            await loop.sock_sendall(ours, head + body)

    async def _password(self, wanted: Carry, request: bytes) -> bytes:
        chosen = self._secrets.chosen[wanted.variant]
        secret = self._secrets.password(wanted.variant)
        methods = frozenset({"password"} if "cleartext" in chosen.credential.methods else ())
        try:
            version = None if secret is None else await secret.have()
            if secret is not None and version is not None:
                self._use(wanted.id, secret, version.number)
            password = Password(None if version is None else version.secret)
            return Login(chosen.user, password, b"", methods=methods).answer(request).say
        except (LoginRefused, Unreadable) as error:
            raise _NotLoggedIn(str(error)) from None


def _refused(error: ssl.SSLCertVerificationError) -> str:
    return f"the server's certificate is not accepted: {error.verify_message.rstrip('.')}"


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The server's next one: tag with length, body. Raises _NotLoggedIn for what is none; what reading raises."""
    head = await reader.readexactly(5)
    size = int.from_bytes(head[1:], "big") - 4
    if not 0 <= size <= MAX_LOGIN_MESSAGE_BYTES:
        raise _NotLoggedIn("the server says what is no message of a login")
    return head, await reader.readexactly(size)


def _refusal(words: str) -> bytes:
    """An ErrorResponse in the server's place, for the worker, which puts it on record and tells the agent what it may know."""
    body = b"SFATAL\0VFATAL\0C28000\0M" + words.encode("utf-8", "replace").replace(b"\0", b"") + b"\0\0"
    return b"E" + (len(body) + 4).to_bytes(4, "big") + body


async def _to_server(ours: socket.socket, writer: asyncio.StreamWriter, spoken: asyncio.Event) -> None:
    """`spoken`: set once the worker has said something."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(ours, CHUNK_BYTES):
        spoken.set()
        with contextlib.suppress(ConnectionError):  # the other way hears of the server's end, and why
            writer.write(data)
            await writer.drain()


def _loaded(context: ssl.SSLContext, chain: bytes, key: bytes) -> bool:
    """Whether the two are a certificate with its key."""
    with _path_of(chain) as certificate, _path_of(key) as own:
        try:
            context.load_cert_chain(certificate, own)
        except OSError:  # SSLError is one; the library makes another of an errno that a pipe left behind (CPython 3.11)
            return False
    return True


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
