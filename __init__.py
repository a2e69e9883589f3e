"""hostguard: a control point on the data path of AI agents that run on this host.

The folders, in the order bytes pass them: ``kernel`` (sockets of guarded processes become flows), ``reassembly`` (bytes in
order, frames), ``protocols`` (bytes to operations and back), ``identity`` (who is behind a flow), ``policy`` (what may happen),
``recorder`` (what happened), ``agent`` (the daemon and the command line that tie them together).
"""
