"""TLS as bytes in, bytes out: sessions with agents, sessions with servers, what carries both on an event loop.

`session` is a session of either side over memory alone, on an `Engine`; `agents` makes those in which hostguard is the server,
`servers` those in which it is the client. Both know all they need before the first byte: nothing here reads a file. `ends` puts a
session between a transport and the protocol that used to be on it.
"""
