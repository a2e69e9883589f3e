"""Conversations that are past their start-up: where most dialogues begin."""

from __future__ import annotations

import wire

from hostguard.protocols.postgres.conversation import PostgresConversation
from hostguard.protocols.postgres.limits import Limits

TOKEN = b"\x01\x02\x03\x04\x05\x06\x07\x08"


def opened(limits: Limits | None = None) -> PostgresConversation:
    """A conversation of alice with database shop, idle, its client told so."""
    conversation = PostgresConversation(limits or Limits(), TOKEN)
    conversation.from_client(wire.startup())
    conversation.start()
    conversation.from_server(
        wire.authentication(0)
        + wire.parameter_status("client_encoding", "UTF8")
        + wire.parameter_status("standard_conforming_strings", "on")
        + wire.parameter_status("server_version", "18.6")
        + wire.key_data(b"pidpsecr")
        + wire.ready()
    )
    conversation.proceed()
    return conversation


def poisons() -> dict[str, bytes]:
    """The messages that take a refused operation's place, as a conversation with TOKEN makes them."""
    from hostguard.protocols.postgres import refuse
    from hostguard.protocols.postgres.link import Link

    link = Link(Limits(), TOKEN)
    by_policy = refuse.Refusal(b"42501", "policy says no", "")
    misspelt = refuse.Refusal(b"42601", 'syntax error at or near "SELEC"', "", 1)
    cut_off = refuse.Refusal(b"42601", "syntax error at end of input", "", 12)
    return {
        "query": refuse.query(by_policy).message,
        "parse": refuse.parse(b"", by_policy).message,
        "misspelt": refuse.query(misspelt).message,
        "cut off": refuse.query(cut_off).message,
        "misspelt parse": refuse.parse(b"", misspelt).message,
        "execute": refuse.execute(link.poison_portal).message,
        "function": refuse.FUNCTION_CALL.message,
    }
