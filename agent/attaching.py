"""The kernel hooks of a daemon that starts: attached, or taken over as they are."""

from __future__ import annotations

from contextlib import AsyncExitStack

from ..kernel import pins
from ..kernel.errors import KernelError
from ..kernel.loader import Redirect
from ..policy.document import Document
from .failures import Failure
from .paths import Paths, attach_point
from .predecessor import Predecessor


def attach(document: Document, paths: Paths, left: Predecessor | None, heartbeat_limit_ms: int, undo: AsyncExitStack) -> Redirect:
    """Attach the hooks. They outlive this daemon, unless it fails to start on a host that was not guarded before."""
    try:
        fresh = not any(hook.attached for hook in pins.status(paths.pins).hooks)
        point, resumed = attach_point(document), None
        if left is not None:
            resumed = left.redirect(point, paths.pins)
        redirect = resumed or Redirect.attach(point, paths.pins, heartbeat_limit_ms, document.daemon.loader)
    except KernelError as error:
        raise Failure(f"the kernel hooks can't be attached: {error}") from None

    def leave(kind: type[BaseException] | None, *_: object) -> None:
        if fresh and kind is not None:
            redirect.detach()
        else:
            redirect.close()

    undo.push(leave)
    return redirect
