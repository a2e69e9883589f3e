"""The variables by which programs are told whom to trust, each with the combined bundle.

A program's own variable may be set already, to a bundle with roots of its owner's: then it gets those with this host's own
authorities instead, in a file beside. Not the system's as well: it did not trust those, and a root costs each of its connections
some third of a millisecond where OpenSSL 3.0 reads the file for each (libpq does).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .own import extended

VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "DENO_CERT",
    "CARGO_HTTP_CAINFO",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "NIX_SSL_CERT_FILE",
)
"""OpenSSL with all that use it, Python's ssl, Go, uv (SSL_CERT_FILE); requests; curl; git; the AWS SDKs; pip; Node, Deno, cargo,
gRPC's C core; Nix."""
EXTENDED = ("PGSSLROOTCERT",)
"""Only where they are set already: libpq verifies with ``sslmode=require`` as soon as it has a root file, so that setting it
would turn away a server that the program takes without hostguard (PostgreSQL 18 docs §32.19.1)."""
FOLDER = "trust"
"""In ``daemon.run_dir``: bundles for those who have roots of their own."""


def variables(bundle: Path, authorities: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """What to set for a program that would run with this environment; nothing while there is no bundle. Raises OSError.

    `authorities`: the file with this host's own alone. A variable that names no readable file stays as it is: the program would
    have failed without hostguard, too.
    """
    if not (authorities.exists() and bundle.exists()):
        return {}
    names = (*VARIABLES, *(name for name in EXTENDED if environment.get(name)))
    own = {name: environment.get(name, "") for name in names}
    # Once for each file: where all of these are set, they tend to name the same one.
    files = {file: _file(bundle, authorities, file) for file in set(own.values())}
    return {name: files[file] for name, file in own.items()}


def _file(bundle: Path, authorities: Path, own: str) -> str:
    if own in ("", str(bundle)):
        return str(bundle)
    try:
        roots = Path(own).read_bytes()
    except OSError:
        return own
    return str(extended(bundle.with_name(FOLDER), roots, authorities) or own)
