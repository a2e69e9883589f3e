"""What TLS takes in a worker, read before it is needed: certificates to show, authorities to believe."""

from __future__ import annotations

from .. import messages
from ..leaves import Leaf
from .agents import Reception, Shown
from .servers import Dialling


class Material:
    """Of one protocol. Made before the cage is closed."""

    def __init__(self, protocol: str) -> None:
        """`protocol`: its name in ALPN."""
        self._protocol = protocol
        self._unverified = Dialling("", protocol)
        self._shown: dict[str, tuple[Leaf, Shown]] = {}
        self._dialling: dict[str, Dialling] = {}
        self.reception = Reception(protocol)

    def take(self, tls: messages.Tls) -> None:
        """This takes the place of all before; what has not changed is not read again. Raises ValueError."""
        shown = {}
        for leaf in tls.leaves:
            known = self._shown.get(leaf.resource)
            shown[leaf.resource] = known if known is not None and known[0] == leaf else (leaf, self.reception.read(leaf))
        self._shown = shown
        self._dialling = {}
        for roots in tls.roots:
            dialling = Dialling(roots.pem, self._protocol)
            self._dialling |= dict.fromkeys(roots.resources, dialling)

    def shown(self, resource: str) -> Shown | None:
        """The certificate for its clients; None while there is none."""
        found = self._shown.get(resource)
        return found[1] if found is not None else None

    def dialling(self, resource: str) -> Dialling:
        """Who begins sessions with its server; one that believes nobody where no authority is known for it."""
        return self._dialling.get(resource, self._unverified)
