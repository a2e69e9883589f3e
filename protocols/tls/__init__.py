"""TLS from outside: who is called and how, read from what both sides say in the clear; nothing is decrypted."""
