"""A process, a socket's peer or a token in, who that is out; it decides nothing about what they may do."""
