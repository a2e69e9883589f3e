"""Alerts: what TLS says when it refuses or ends (RFC 8446 §6)."""

from __future__ import annotations

from typing import Final

ACCESS_DENIED: Final = 49
INTERNAL_ERROR: Final = 80
ILLEGAL_PARAMETER: Final = 47
WARNING: Final = 1
FATAL: Final = 2
NAMES: Final = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    22: "record_overflow",
    40: "handshake_failure",
    42: "bad_certificate",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    109: "missing_extension",
    110: "unsupported_extension",
    112: "unrecognized_name",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
    121: "ech_required",
}


def fatal(code: int) -> bytes:
    """The record of a fatal alert in the clear, as any client takes it before its handshake is done."""
    return bytes([21, 3, 3, 0, 2, FATAL, code])


def name(code: int) -> str:
    """What an alert is called; its number where we don't know."""
    return NAMES.get(code, f"alert {code}")
