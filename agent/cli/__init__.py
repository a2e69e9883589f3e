"""The ``hostguard`` command line: a command parses, calls one function, prints."""
