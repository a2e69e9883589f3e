"""The kinds of entries in the log, with their fields.

An entry is one msgpack map: ``kind`` first, then the kind's own fields, then those that every entry has (`Entry`), of which
the last is ``crc``. A reader needs nothing of ours: any msgpack library reads an entry, and a field that it doesn't know is to
be ignored. These classes are the format's definition; docs/recordings.md is checked against them by a test.

Fields whose length others decide have ``| Stored`` in their type: see `packing`.

Entries are mutable, unlike the other vocabularies, because the log stamps time, flow and sequence into them: that saves a copy
for each operation. Nobody changes one once it is appended.
"""

from __future__ import annotations

import msgspec

from .stored import Stored

FORMAT_VERSION = 1

Hash = bytes
Text = str | Stored
Texts = tuple[str, ...] | Stored
Pairs = tuple[tuple[str, str], ...] | Stored


class Entry(msgspec.Struct, kw_only=True, tag_field="kind"):
    """What every entry has. The log fills all of these in."""

    v: int = FORMAT_VERSION
    """Version of the format."""
    wall_ns: int = 0
    """Time since 1970 UTC, nanoseconds; may step."""
    mono_ns: int = 0
    """Monotonic time of this boot, nanoseconds; never steps, so durations come from here."""
    flow: int = 0
    """The flow's number, which is the index of its ``flow.open`` or ``flow.refused`` entry; 0 for what belongs to no flow."""
    seq: int = 0
    """Number of the entry in its flow while the flow is open, from 1; 0 outside."""
    crc: int = 0xFFFFFFFF
    """CRC-32 of the entry up to here; always five bytes of msgpack."""


class DaemonStart(Entry, tag="daemon.start"):
    """The daemon began to guard."""

    version: str
    pid: int
    boot_id: str = ""
    durability: str = ""
    """``strict``, or ``batch`` with its window."""
    details: Pairs = ()
    """What else describes this run: host, kernel, configuration file and its SHA-256."""


class DaemonStop(Entry, tag="daemon.stop"):
    """The daemon ended in order. A start without a stop before it means that the run before was killed."""

    reason: str
    flows: int = 0
    user: str = ""
    """Who asked for a restart on the control socket; empty for a signal."""
    uid: int = -1
    provider: str = ""
    policies: Texts = ()
    """Policies that permit the user to do so."""
    groups: Texts = ()
    """Groups that a sign-in gave the user, beside those of the configuration."""


class FlowOpen(Entry, tag="flow.open"):
    """A process reached a resource: who it is, and where it was going."""

    agent: str
    workload: str
    resource: str
    protocol: str = ""
    source: str = ""
    """Address and port of the client's end."""
    destination: str = ""
    """Address and port that the process asked to connect to."""
    pid: int = 0
    start_ticks: int = 0
    """Start time of the process, clock ticks since boot; with `pid` it names one process."""
    uid: int = -1
    gid: int = -1
    user: str = ""
    comm: str = ""
    exe: Text = ""
    cmdline: Texts = ()
    cgroup: Text = ""
    ancestors: Texts = ()
    """``pid exe`` of the parent, its parent, and so on."""
    gone: bool = False
    """The process had ended when it was looked at: the facts are the kernel's only."""
    details: Pairs = ()
    journal: int = 0
    """Journal through which the flow's later entries come; 0 when they are appended by the log's owner itself."""


class FlowRefused(FlowOpen, tag="flow.refused"):
    """A connection was refused before it became a conversation; the facts are as far as they were known."""

    reason: Text = ""


class FlowClose(Entry, tag="flow.close"):
    """The flow ended; nothing of it follows but late approvals."""

    reason: Text
    fault: str = ""
    """Empty for an ordinary end, else whose fault: ``client``, ``server``, ``unsafe``, ``internal``."""
    client_bytes: int = 0
    """Bytes that came from the client."""
    server_bytes: int = 0
    """Bytes that came from the server."""


class Session(Entry, tag="session"):
    """A session's start-up, before anything of it was forwarded."""

    database: Text
    user: Text
    parameters: Pairs = ()
    """Start-up parameters as sent; never a secret."""
    credential: Text = ""
    """Name of the credential with which hostguard logged in, as ``user``; empty when the agent's own login passed through."""


class Encrypted(Entry, tag="encrypted"):
    """TLS of one of the flow's two links is there."""

    side: str
    """``client`` for the link to the agent, ``server`` for that to the server."""
    version: Text
    cipher: Text = ""
    protocol: Text = ""
    """That both agreed on (ALPN)."""
    name: Text = ""
    """``client``: what the agent was looking for (SNI); ``server``: what the certificate had to be for."""
    mode: Text = ""
    """``server``: how sure of the server it had to be, ``server_tls``."""
    certificate: str = ""
    """SHA-256, in hex, of the server's certificate: hostguard's own towards agents."""


class Operation(Entry, tag="operation"):
    """One thing that the agent asked for, whole; written before it is forwarded."""

    operation: int
    """Number of the operation in its flow, from 1."""
    form: str
    """How it was asked: ``query``, ``prepare``, ``execute``, ``function_call``; ``connect`` for a session that passes unread."""
    text: str | Stored | None
    """None when the statement was prepared out of sight."""
    statement: Text = ""
    """Name of the prepared statement."""
    parameters: tuple[bytes | None, ...] | Stored = ()
    """Bound values as sent; None is SQL NULL."""
    formats: tuple[int, ...] | Stored = ()
    """0 text, 1 binary: none, one for all, or one each."""
    types: tuple[int, ...] | Stored = ()
    """Type OIDs that the client declared; 0 for unspecified."""
    function: int = 0
    """OID of the function that a ``function_call`` calls."""


class Decision(Entry, tag="decision"):
    """What policy said of an operation; a held one gets a second decision when it is released or refused."""

    operation: int
    verdict: str
    """``allow``, ``deny``, ``hold``."""
    reason: Text = ""
    hint: Text = ""
    policies: Texts = ()
    """Policies that determined the verdict."""
    accesses: Pairs = ()
    """What the operation amounts to: (action, object)."""
    epoch: int = 0
    """Number of the policy that was in force: that of its ``policy.load``."""
    request: str = ""
    """The request for approval that this decision waits for or follows from."""
    would: str = ""
    """The workload was only observed: what the verdict would have been, with this reason; it is ``allow``. Else empty."""
    grant: str = ""
    """The grant that it follows from, whose issuers' approval it was judged with; its use is on record before this."""


class Reply(Entry, tag="reply"):
    """What came back for an operation; never the values."""

    operation: int
    status: str
    """``ok``, ``error``, ``suspended``, ``skipped``, ``lost``."""
    tag: Text = ""
    """Completion tag, or the error's code."""
    rows: int = 0
    bytes: int = 0
    columns: Texts = ()
    masked: Texts = ()
    """Columns that were masked."""
    duration_us: int = 0
    """From forwarding the operation to the end of its reply."""
    tags: Texts = ()
    """Tags that asked for the masks; a computed column is masked without one."""
    would_mask: Texts = ()
    """Of an observed workload: columns that would have been masked, and were not; ``*`` for values without columns."""


class Captured(Entry, tag="captured"):
    """The rows that the agent got for an operation, as it got them, masks applied: its resource asks for reply capture."""

    operation: int
    messages: bytes | Stored
    """PostgreSQL's messages in order: RowDescription, DataRow, CopyData, CommandComplete, …"""
    left_out: int = 0
    """Bytes of further messages that the agent got: the reply was longer than what is kept, or could not be stored."""


class Opaque(Entry, tag="opaque"):
    """Nothing that follows in this flow could be read: it passed all the same, because its workload was only observed."""

    reason: Text
    """What would have been the reason of the refusal."""
    fault: str = ""
    """As in ``flow.close``, of the end that it would have come to; empty for a connection that would not have become a flow."""


class Withdrawn(Entry, tag="withdrawn"):
    """The client gave an operation up before it was decided."""

    operation: int
    reason: Text = ""


class Request(Entry, tag="request"):
    """An operation was held: a request for approval is open."""

    request: str
    operation: int
    digest: bytes
    """Hash of the exact statement and parameters: the approval is good for nothing else."""
    mode: str = "wait"
    """``wait`` or ``ticket``."""
    approvers: Texts = ()
    expires_ns: int = 0
    """Wall time at which it lapses, nanoseconds."""
    reason: Text = ""


class Approval(Entry, tag="approval"):
    """The end of a request for approval, and who decided it."""

    request: str
    verdict: str
    """``approved``, ``denied``, ``withdrawn`` or ``expired``; ``collected`` for a yes that does not suffice alone."""
    user: str = ""
    """The user who decided; empty where nobody did."""
    uid: int = -1
    """Their UNIX user id, as the kernel tells it of the control socket's peer; -1 on the web page."""
    operation: int = 0
    reason: Text = ""
    provider: str = ""
    """The identity provider at which they signed in; empty for a UNIX user."""
    groups: Texts = ()
    """Groups that a sign-in gave the user, beside those of the configuration."""


class SignedIn(Entry, tag="user.session"):
    """An identity provider vouched for somebody, who was let in or not; written before they are."""

    user: str
    """Empty when they were not."""
    provider: str
    subject: Text
    """What the provider calls them."""
    address: str
    """Where they are, as hostguard sees it; ``uid N`` for the command line."""
    refused: Text = ""
    """Why they were not let in."""
    groups: Texts = ()
    """Groups that a sign-in gave the user, beside those of the configuration."""


class GrantIssued(Entry, tag="grant.issued"):
    """A user permits something in advance; on record before it can be used. Once more for each further user who does."""

    grant: str
    user: str
    """Who stands for it now."""
    uid: int = -1
    agent: str = ""
    resource: str = ""
    form: str = ""
    """``operation``, ``statement``, ``shape``."""
    digest: bytes = b""
    """Of what it is good for (approvals.md)."""
    text: Text = ""
    """The statement, as it was when the grant was issued."""
    parameters: Texts = ()
    """Its bound values as people read them."""
    uses: int = 0
    not_before_ns: int = 0
    """Wall time from which it may be used, nanoseconds."""
    until_ns: int = 0
    request: str = ""
    """The request for approval that it came from."""
    reason: Text = ""
    provider: str = ""
    """The identity provider at which they signed in; empty for a UNIX user."""
    groups: Texts = ()
    """Groups that a sign-in gave the user, beside those of the configuration."""


class GrantUsed(Entry, tag="grant.used"):
    """One use of a grant is counted, durably; the operation's decision follows. A crash in between loses the use."""

    grant: str
    operation: int
    """Number of the operation in its flow."""
    users: Texts = ()
    """Whose approval it came to."""
    left: int = 0
    """Uses that are left after this one."""


class GrantRevoked(Entry, tag="grant.revoked"):
    """A user ended a grant: nothing is released by it from before this entry on."""

    grant: str
    user: str
    """Empty for root without a user of its own."""
    uid: int = -1
    left: int = 0
    """Uses that nobody has any more."""
    reason: Text = ""
    provider: str = ""
    groups: Texts = ()
    """Groups that a sign-in gave the user, beside those of the configuration."""


class Cancel(Entry, tag="cancel"):
    """A client asked the server to cancel what another connection is running."""

    target: int
    """Flow whose query it is; 0 when no flow holds that key."""
    forwarded: bool = False


class NameAsked(Entry, tag="name.asked"):
    """A process asked for a name, and what policy said of that; written before anybody else is asked."""

    question: str
    """Id of the question, also in its ``name.answered``."""
    agent: str
    workload: str
    name: Text
    """In lower case, without a final dot; bytes that no host name has are escaped."""
    type: str
    """``A``, ``AAAA``, ``TXT``, …"""
    verdict: str
    """``allow`` or ``deny``."""
    reason: Text = ""
    policies: Texts = ()
    flags: Texts = ()
    """What looks like a tunnel in it."""
    epoch: int = 0
    transport: str = ""
    """``udp`` or ``tcp``."""
    server: str = ""
    """Address and port of the name server that the process meant to ask."""
    pid: int = 0
    start_ticks: int = 0
    uid: int = -1
    comm: str = ""
    exe: Text = ""
    cgroup: Text = ""
    would: str = ""
    """As of a `Decision`: what the verdict would have been where the workload is only observed."""


class NameAnswered(Entry, tag="name.answered"):
    """What became of a question; written before the process gets the answer."""

    question: str
    status: str
    """``NOERROR``, ``NXDOMAIN``, …; ``REFUSED``; ``SERVFAIL`` also where no name server answered."""
    answers: Texts = ()
    """The records, as ``A 192.0.2.1``."""
    ttl_s: int = 0
    """For how long the process may keep them."""
    upstream: str = ""
    """Name server that answered; empty for an answer from the cache, and for none."""
    duration_us: int = 0
    """From the question to here."""
    reason: Text = ""
    """Why there is no answer."""


class RoadDenied(Entry, tag="road.denied"):
    """A guarded process tried a road that does not lead through the loop; the kernel refused, dropped or ended it. Of no flow.

    The first of its like is on record at once; how many more came, each minute.
    """

    road: str
    """What the kernel's programs call it: ``killed_family``, ``dropped``, … (kernel.md)."""
    agent: str = ""
    """Empty where nobody can tell."""
    workload: str = ""
    times: int = 1
    """How many this entry tells of."""
    happened_ns: int = 0
    """Wall time of the first of them, nanoseconds; 0 when it is not known."""
    observed: bool = False
    """It was only told: the workload is observed."""
    pid: int = 0
    """0 when no process can be named, as for what the fence drops, and where many are told of together."""
    start_ticks: int = 0
    uid: int = -1
    comm: str = ""
    exe: Text = ""
    cmdline: Texts = ()
    cgroup: Text = ""
    family: int = 0
    """Address family; 0 when there was no address."""
    protocol: int = 0
    """IP protocol; the option's number for ``denied_option``."""
    destination: Text = ""
    """Address and port, or the UNIX socket's; bytes that are no text are escaped."""
    total: int = 0
    """For what was counted and not told one by one: the kernel's counter, which goes on across restarts."""


class IdentityVerified(Entry, tag="identity.verified"):
    """An issuer vouches for an agent; written before anything follows from it. Never the token."""

    agent: str
    source: str
    """Name of the issuer in the configuration."""
    issuer: Text
    """As the token says it."""
    subject: Text
    roles: Texts = ()
    """What its claims map to."""
    how: str = ""
    """``file``, ``exec`` or ``presented``."""
    digest: str = ""
    """SHA-256 of the token, in hex."""
    token_id: Text = ""
    """``jti``; of an assertion its ID; empty when it has none."""
    key: str = ""
    """Thumbprint of the key that it is signed with."""
    expires_ns: int = 0
    """Wall time, nanoseconds."""
    cgroup: Text = ""
    """Whose processes it is about; empty for all of the agent's."""
    pid: int = 0
    """Of the process that presented it; 0 for a file."""


class IdentityRefused(Entry, tag="identity.refused"):
    """A token of an agent's was refused."""

    agent: str
    source: str
    fault: str
    """A word: ``expired``, ``signature``, ``audience``, …"""
    reason: Text
    how: str = ""
    digest: str = ""
    cgroup: Text = ""
    pid: int = 0


class IdentityEnded(Entry, tag="identity.ended"):
    """An issuer's word for an agent counts no more."""

    agent: str
    source: str
    issuer: Text
    subject: Text
    reason: Text
    digest: str = ""
    cgroup: Text = ""
    user: str = ""
    """User who revoked it; empty when nobody did."""
    uid: int = -1
    provider: str = ""
    policies: Texts = ()
    """Policies that permit the user to do so."""
    groups: Texts = ()
    """Groups that a sign-in gave the user, beside those of the configuration."""


class Replayed(Entry, tag="recording.replayed"):
    """A user read recordings through the daemon, written before they are shown; or was refused them. Of no flow."""

    user: str
    """Empty for a UNIX user that is no user of hostguard, who is always refused."""
    uid: int = -1
    provider: str = ""
    """The identity provider at which they signed in; empty for a UNIX user."""
    recording: int = 0
    """The flow whose recording it was; 0 for a list or a search."""
    filters: Pairs = ()
    """What was asked for: (name, value)."""
    agents: Texts = ()
    """Whose recordings are in the answer, or would have been."""
    count: int = 0
    """How many flows, or operations that a search found. Of refusals: for how many this stands."""
    payloads: bool = False
    """Whether captured replies and long statements are in it."""
    policies: Texts = ()
    """Policies that permit the user to do so."""
    groups: Texts = ()
    """Groups that a sign-in gave the user, beside those of the configuration."""
    refused: Text = ""
    """Why nothing was shown; empty when something could be."""


class PolicyLoad(Entry, tag="policy.load"):
    """A configuration came into force, or was refused."""

    epoch: int
    accepted: bool
    files: Pairs = ()
    """(path, SHA-256 in hex)."""
    texts: Pairs = ()
    """(path, text) of the same files: what was in force can be read when they have changed; none in older logs."""
    errors: Texts = ()
    user: str = ""
    """Who asked for the reload; empty at start."""


class AgentStopped(Entry, tag="agent.stop"):
    """A user stopped an agent: its flows end, and nothing new of its goes on until it is resumed. Of no flow."""

    agent: str
    """Empty for all agents of this host, also those that are configured later."""
    user: str
    uid: int = -1
    """Their UNIX user id, as the kernel tells it of the control socket's peer; -1 where there is none."""
    reason: Text = ""
    flows: int = 0
    """Open flows that end by it."""
    policies: Texts = ()
    """Policies that permit the user to do so."""
    provider: str = ""
    """The identity provider at which they signed in; empty for a UNIX user."""
    groups: Texts = ()
    """Groups that a sign-in gave the user, beside those of the configuration."""


class AgentResumed(Entry, tag="agent.resume"):
    """A user lifted a stop; written before it is lifted. Of no flow."""

    agent: str
    """Empty where the stop was that of all agents."""
    user: str
    uid: int = -1
    reason: Text = ""
    policies: Texts = ()
    provider: str = ""
    groups: Texts = ()
    """Groups that a sign-in gave the user, beside those of the configuration."""


class ProbeFailed(Entry, tag="probe.failed"):
    """A question of our own to the server or the kernel went unanswered."""

    probe: str
    error: Text


class Fault(Entry, tag="fault"):
    """Something unexpected happened inside hostguard; the flow it belongs to was ended."""

    where: str
    error: Text


class LogBegin(Entry, tag="log.begin"):
    """The first entry of every log: no flow can have its index, 0, as a number."""


class LogCut(Entry, tag="log.cut"):
    """Bytes at the log's end were no whole entry when it was opened: they were set aside, and the log goes on before them."""

    segment: str
    offset: int
    """Where in the segment the bytes began."""
    length: int
    sha256: bytes
    """Of the bytes; they are kept as ``payloads/ab/<sha256 in hex>``."""


class LogResumed(Entry, tag="log.resumed"):
    """The log could be written again after it could not: appends in between failed, so their operations were refused."""

    failures: int
    error: str
    """What the first one failed with."""
    since_ns: int
    """Wall time of the first failure, nanoseconds."""


class JournalOpen(Entry, tag="journal.open"):
    """A process got a journal for its entries; this entry's index is the journal's number."""

    worker: str
    bytes: int
    """How much the journal holds."""


class JournalEnd(Entry, tag="journal.end"):
    """A journal came to its end: all that was whole in it and allowed is in the log before this entry."""

    journal: int
    reason: str
    fault: str = ""
    """Empty for an ordinary end, ``crash`` when it was found at the next start, ``worker`` for what no sound worker writes."""
    position: int = 0
    """Bytes of the journal, since its beginning, that were taken into the log."""
    lost: int = 0
    """Bytes behind them that were not."""
    rejected: bytes = b""
    """The first of those, up to 4,096."""


class LogRemoved(Entry, tag="log.removed"):
    """The rule of retention removes old segments and payloads: this is on record, and sealed, before the first file goes."""

    before: int
    """Entries before this one are removed; the tree keeps their hashes."""
    segments: int
    payloads: int
    bytes: int
    reason: str
    carried: Hash = b""
    """SHA-256 of what is kept of removed entries that later ones need (`carried`); empty in older logs."""


class LogKey(Entry, tag="log.key"):
    """The key that signs the log's checkpoints is to be another one; in force once a checkpoint over this is signed by both."""

    old: str
    """The verifier key until then."""
    new: str
    """The verifier key from then on."""
    user: str = ""
    """UNIX user who changed it."""


class Unknown(msgspec.Struct, frozen=True):
    """An entry of a kind that this version doesn't know: a later one wrote it."""

    kind: str
    flow: int
    fields: dict[str, object]
