"""TLS sessions with servers, as sure of them as configuration asks for.

By the standard library, which reads roots from memory; it compares names as RFC 6125 says, and has words for what is wrong.
A context is dear (all roots of a system), so there is one for all sessions that trust the same.
"""

from __future__ import annotations

import ssl

from ...policy.credential_sections import VERIFIED, ServerTls
from .session import READ_BYTES, Facts, Over, Session, TlsFault

# X509_V_ERR_* of OpenSSL (x509_vfy.h): what is told of them beside OpenSSL's words.
_EXPIRED, _NOT_YET, _SELF_SIGNED, _SELF_SIGNED_ROOT, _NO_ISSUER, _NO_ISSUER_OF_LEAF = 10, 9, 18, 19, 20, 21
_NAME, _ADDRESS = 62, 64
_TRUST = "is signed by an authority that hostguard does not trust: set server_roots to the file of the right one"
_ADVICE = {
    _EXPIRED: "has expired: renew it on the server",
    _NOT_YET: "is not valid yet: look at both clocks",
    _SELF_SIGNED: "is signed by itself: set server_roots to its file if it is the right one",
    _SELF_SIGNED_ROOT: _TRUST,
    _NO_ISSUER: _TRUST,
    _NO_ISSUER_OF_LEAF: _TRUST,
}


class Dialling:
    """Begins sessions with the servers that the same authorities may vouch for."""

    def __init__(self, roots: str, protocol: str) -> None:
        """`roots`: certificates in PEM, may be none where nothing is verified; `protocol`: as of `agents.Reception`."""
        self._roots = roots
        self._protocol = protocol
        self._contexts: dict[ServerTls, ssl.SSLContext] = {}

    def session(self, mode: ServerTls, name: str) -> Session:
        """A new one. `name`: of the server, which its certificate must be for with ``verify-full``; empty where none is known.

        Raises TlsFault when what is configured is no name, or holds no certificate.
        """
        context = self._contexts.get(mode)
        if context is None:
            context = self._contexts[mode] = self._context(mode)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            session = context.wrap_bio(incoming, outgoing, server_hostname=name or None)
        except ValueError:
            raise TlsFault(f"{name} is no name that a certificate can be for: see server_name") from None
        return Session(_Engine(session, incoming, outgoing, name))

    def _context(self, mode: ServerTls) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
        context.check_hostname = mode == "verify-full"
        context.verify_mode = ssl.CERT_REQUIRED if mode in VERIFIED else ssl.CERT_NONE
        context.set_alpn_protocols([self._protocol])
        if mode in VERIFIED:
            try:
                context.load_verify_locations(cadata=self._roots)
            except (ssl.SSLError, ValueError):
                raise TlsFault("nobody can vouch for it: server_roots holds no certificate that can be read") from None
        return context


class _Engine:
    def __init__(self, session: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, name: str) -> None:
        self._session = session
        self._incoming = incoming
        self._outgoing = outgoing
        self._name = name

    def put(self, data: bytes) -> None:
        self._incoming.write(data)

    def take(self) -> bytes:
        return self._outgoing.read()

    def handshake(self) -> bool:
        try:
            self._session.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLCertVerificationError as error:
            raise TlsFault(f"its certificate {_advice(error, self._name)}") from None
        except ssl.SSLError as error:
            raise TlsFault(f"no TLS could be agreed on: {_reason(error)}") from None
        return True

    def read(self) -> bytes:
        if not self._incoming.pending and not self._session.pending():
            return b""  # OpenSSL would say the same by an error, which costs as much as reading a record
        try:
            data = self._session.read(READ_BYTES)
        except ssl.SSLWantReadError:
            return b""
        except ssl.SSLZeroReturnError:
            raise Over from None
        except ssl.SSLError as error:
            raise TlsFault(f"the server's TLS is broken: {_reason(error)}") from None
        if not data:
            raise Over  # the library says so by an exception only when ours is out as well
        return data

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._session.write(view) :]

    def close(self) -> None:
        try:
            self._session.unwrap()
        except (ssl.SSLWantReadError, ssl.SSLError):
            return  # it waits for the peer's; ours is out

    def facts(self) -> Facts:
        session = self._session
        cipher = session.cipher()
        return Facts(
            version=session.version() or "",
            cipher=cipher[0] if cipher else "",
            alpn=session.selected_alpn_protocol() or "",
            name=self._name,
            certificate=session.getpeercert(binary_form=True) or b"",
        )


def _advice(error: ssl.SSLCertVerificationError, name: str) -> str:
    if error.verify_code in (_NAME, _ADDRESS):
        return f"is not for {name}: set server_name to a name that it is for if this is the right server"
    return _ADVICE.get(error.verify_code, f"is not accepted: {error.verify_message.rstrip('.')}")


def _reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLEOFError):
        return "the connection was closed in the middle of it"
    return (error.reason or "the handshake failed").replace("_", " ").lower()
