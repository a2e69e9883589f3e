"""TLS sessions with agents, in which hostguard shows a certificate of its own.

By pyOpenSSL, because the standard library reads certificates from files only, and who speaks with agents can open none. To have
OpenSSL take a certificate with its key costs as much as a handshake, so each has a context of its own, made once.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.bindings.openssl.binding import Binding
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import SSL

from ...protocols.postgres.binding import end_point
from ..leaves import Leaf
from ._alpn_cffi import lib as alpn
from .session import READ_BYTES, Facts, Over, Session, TlsFault

CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; all of 1.3 are good."""
_WORDS = {
    "tlsv1 alert unknown ca": "it does not trust hostguard's authority; see hostguard ca",
    "tlsv1 alert bad certificate": "it does not accept hostguard's certificate",
    "ssl/tls alert bad certificate": "it does not accept hostguard's certificate",
    "ssl/tls alert certificate unknown": "it does not accept hostguard's certificate",
    "ssl/tls alert certificate expired": "it finds hostguard's certificate expired",
    "http request": "it speaks HTTP",
    "wrong version number": "it speaks no TLS",
    "unsupported protocol": "it offers no version of TLS from 1.2 on",
    "no shared cipher": "it offers no cipher that hostguard takes",
    "no application protocol": "it offers protocols (ALPN), but not {protocol}",
}
"""What to say for what OpenSSL calls it."""
_CHOOSER = "int (*)(SSL *, const unsigned char **, unsigned char *, const unsigned char *, unsigned int, void *)"
"""The type of what ``SSL_CTX_set_alpn_select_cb`` takes."""
_OPENSSL = Binding()
"""pyOpenSSL's own: the two have to mean the same OpenSSL."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A certificate with its key, in a context that shows it and no other."""

    context: SSL.Context
    der: bytes
    binding: bytes | None
    """As of `end_point`."""


class Reception:
    """Begins sessions with agents that speak one protocol. To be made before the cage is closed."""

    def __init__(self, protocol: str) -> None:
        """`protocol`: its name in ALPN (RFC 7301)."""
        self.protocol = protocol
        name = protocol.encode("ascii")
        self._wanted = _OPENSSL.ffi.new("unsigned char[]", [len(name), *name])
        self._context()  # so that OpenSSL has found by then what a context takes

    def read(self, leaf: Leaf) -> Shown:
        """What the broker sent. Raises ValueError for what it never sends."""
        key = load_pem_private_key(leaf.key, None)
        if not isinstance(key, EllipticCurvePrivateKey):
            raise ValueError(f"the key of {leaf.resource}'s certificate is none of an elliptic curve")
        certificate = x509.load_pem_x509_certificate(leaf.chain)
        context = self._context()
        context.use_certificate(certificate)
        context.use_privatekey(key)
        der = certificate.public_bytes(Encoding.DER)
        return Shown(context, der, end_point(der))

    def _context(self) -> SSL.Context:
        """A client that lists protocols and not this one means another service (PostgreSQL 18 docs §54.2.10).

        The choice is made in C (`alpn.c`): pyOpenSSL's way takes memory that is written and executed.
        """
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_cipher_list(CIPHERS)
        context.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        chooser = _OPENSSL.ffi.cast(_CHOOSER, alpn.hg_protocol_chooser())
        _OPENSSL.lib.SSL_CTX_set_alpn_select_cb(context._context, chooser, self._wanted)
        return context

    def session(self, shown: Shown) -> Session:
        """A new one, in which the agent is shown this certificate."""
        connection = SSL.Connection(shown.context, None)
        connection.set_accept_state()
        return Session(_Engine(connection, shown.der, self))


class _Engine:
    def __init__(self, connection: SSL.Connection, certificate: bytes, reception: Reception) -> None:
        self._connection = connection
        self._reception = reception
        """It has what the context's choice among protocols reads."""
        self._certificate = certificate

    def put(self, data: bytes) -> None:
        self._connection.bio_write(data)

    def take(self) -> bytes:
        size = _waiting(self._connection._from_ssl)
        # Named, since the build checks types before the package that knows them is installed.
        data: bytes = self._connection.bio_read(size) if size else b""
        return data

    def handshake(self) -> bool:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            raise TlsFault(f"no TLS with the agent: {_reason(error).format(protocol=self._reception.protocol)}") from None
        return True

    def read(self) -> bytes:
        if not _waiting(self._connection._into_ssl) and not self._connection.pending():
            return b""  # OpenSSL would say the same by an error, which costs as much as reading a record
        try:
            data: bytes = self._connection.recv(READ_BYTES)
            return data
        except SSL.WantReadError:
            return b""
        except SSL.ZeroReturnError:
            raise Over from None
        except SSL.Error as error:
            raise TlsFault(f"the agent's TLS is broken: {_reason(error)}") from None

    def write(self, data: bytes) -> None:
        self._connection.sendall(data)

    def close(self) -> None:
        self._connection.shutdown()

    def facts(self) -> Facts:
        connection = self._connection
        name = connection.get_servername() or b""
        return Facts(
            version=connection.get_protocol_version_name(),
            cipher=connection.get_cipher_name() or "",
            alpn=connection.get_alpn_proto_negotiated().decode("ascii", "backslashreplace"),
            name=name.decode("ascii", "backslashreplace"),
            certificate=self._certificate,
        )


def _waiting(buffer: object) -> int:
    """Bytes in a memory buffer of a session's; pyOpenSSL itself finds out by reading from an empty one."""
    size: int = _OPENSSL.lib.BIO_get_mem_data(buffer, _OPENSSL.ffi.NULL)
    return size


def _reason(error: SSL.Error) -> str:
    """OpenSSL's words for it, or ours."""
    if isinstance(error, SSL.SysCallError) or not error.args or not error.args[0]:
        return "the connection was closed in the middle of it"
    words = str(error.args[0][-1][-1])
    return _WORDS.get(words, words)
