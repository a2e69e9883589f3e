"""The sections of the configuration file, as strict structs with their defaults."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .approval_sections import Approvals
from .budget_sections import Budget
from .channel_sections import Channel
from .credential_sections import Aws, ClientTls, Credential, HostName, ServerTls, Tls, Vault
from .duty_sections import Duty, Exclusion
from .issuer_sections import Issuer, Requirement
from .outlet_sections import Forward, Metrics, Ship, Witness
from .section import AbsolutePath, Name, Section
from .web_sections import SignIn, User, Web

Family = Literal[
    "unix", "inet", "inet6", "netlink", "packet", "rds", "can", "tipc", "bluetooth", "alg", "vsock", "kcm", "smc", "xdp"
]
SEEN_FAMILIES: tuple[Family, ...] = ("unix", "inet", "inet6", "netlink")
"""What the kernel hooks see, with netlink, which never leaves the host."""


class Daemon(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[daemon]``: where the daemon keeps its things."""

    state_dir: AbsolutePath = "/var/lib/hostguard"
    """Directory of the log. Default ``/var/lib/hostguard``."""
    run_dir: AbsolutePath = "/run/hostguard"
    """Directory of the control socket. Default ``/run/hostguard``."""
    pin_dir: AbsolutePath = "/sys/fs/bpf/hostguard"
    """Directory in a BPF file system where the kernel hooks are pinned. Default ``/sys/fs/bpf/hostguard``."""
    attach: Annotated[str, msgspec.Meta(pattern=r"^(auto\Z|/)", description='"auto" or an absolute path')] = "auto"
    """The cgroup directory to attach the hooks to; ``auto`` is the root of the cgroup2 mount. Default ``auto``."""
    unix_allow: tuple[
        Annotated[str, msgspec.Meta(pattern=r"^[/@].{0,106}\Z", description="an absolute path, or @ and an abstract name")], ...
    ] = ("/dev/log", "/run/systemd/journal/dev-log", "/run/systemd/journal/socket", "/run/systemd/journal/stdout")
    """UNIX sockets that guarded processes may reach, by the exact address that they use. Default those of the system's log."""
    workers: Annotated[int, msgspec.Meta(ge=0, le=16)] = 0
    """Processes that carry the flows; 0 for one for each processor, at most 16. Default 0."""
    worker_user: str = ""
    """UNIX user that these processes run as. Default ``hostguard`` where the host has it, else ``nobody``."""
    loader: Literal["auto", "libbpf", "bcc"] = "auto"
    """What loads the kernel programs; ``auto``: libbpf, and bcc where it can't. Default ``auto``."""


class Log(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[log]``: how sure a record is before its operation goes on."""

    durability: Literal["batch", "strict"] = "batch"
    """``strict``: synced before the operation is forwarded; ``batch``: written before, synced later. Default ``batch``."""
    batch_ms: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 50
    """``batch``: milliseconds after which a record is synced at the latest. Default 50."""
    seal_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 10
    """Seconds between signed checkpoints over what came in between. Default 10."""
    keep_days: Annotated[int, msgspec.Meta(ge=0, le=36_500)] = 0
    """Days after which the oldest segments are removed, with their payloads; 0 keeps them for ever. Default 0."""
    keep_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Bytes of segments and payloads above which the oldest are removed; 0 for no limit. Default 0."""
    witness_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 60
    """Seconds between attempts to show the newest checkpoint to the witnesses. Default 60."""
    payload_recipients: tuple[str, ...] = ()
    """age recipients of the auditors (``age1…``, ``ssh-ed25519 …``); each can open new payloads. Default none: in the clear."""
    payload_above_bytes: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 65_535
    """Bytes above which a statement's text, or its parameters, are a payload instead of part of the entry. Default 65535."""


class Policies(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[policy]``: the Cedar policies."""

    files: tuple[str, ...] = ("policies/*.cedar",)
    """Paths or patterns of ``.cedar`` files, relative to the configuration file. Default ``["policies/*.cedar"]``."""
    base: bool = True
    """Whether hostguard's own base policy (``hostguard: …``) is part of the policy set. Default true."""


class Limits(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[limits]``: what is bounded."""

    max_flows: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    """Flows open at one time; further connections are refused. Default 1000."""
    max_message_bytes: Annotated[int, msgspec.Meta(ge=1024, le=1_073_741_824)] = 16_777_216
    """Bytes of the largest protocol message; larger ones are refused. Default 16777216."""
    max_held: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1000
    """Operations that wait for a user at one time; further ones are denied. Default 1000."""
    begin_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 60
    """Seconds that an agent has from its connection to its start-up packet, its TLS included, or to its TLS hello. Default 60."""
    catalog_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 30
    """Seconds that a database's catalog is trusted before it is read again. Default 30."""


RecordType = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(?!(ANY|AXFR|IXFR|MAILA|MAILB|OPT|TKEY|TSIG)\Z)[A-Z][A-Z0-9]*(-[A-Z]+)?\Z",
        description="a type of records in capitals, such as TXT",
    ),
]
_Often = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]


class Dns(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[dns]``: the names that agents ask for."""

    upstreams: tuple[
        Annotated[
            str,
            msgspec.Meta(
                pattern=r"^(\d{1,3}(\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\]):\d{1,5}\Z",
                description="an address with its port, 127.0.0.53:53",
            ),
        ],
        ...,
    ] = ()
    """Name servers to ask, ``IPv4:port`` or ``[IPv6]:port``, in this order. Default those of ``/etc/resolv.conf``."""
    timeout_ms: Annotated[int, msgspec.Meta(ge=50, le=60_000)] = 1500
    """Milliseconds to wait for one name server before the next is asked. Default 1500."""
    types: tuple[RecordType, ...] = ("A", "AAAA", "CNAME", "HTTPS", "MX", "PTR", "SRV", "SVCB", "TXT")
    """Types of records that are ordinary; others have the flag ``rare_type``. Default those that programs ask for."""
    max_in_flight: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 128
    """Questions of one agent that wait for name servers at one time; further ones are refused. Default 128."""
    cache: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 10_000
    """Answers kept for as long as they hold; 0 for none. Default 10000."""
    grace_s: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 300
    """Seconds after the end of an answer's time in which a connection to its address is still the name's. Default 300."""
    max_name: Annotated[int, msgspec.Meta(ge=0, le=255)] = 150
    """Characters above which a name has the flag ``long_name``; 0 for never. Default 150."""
    max_coded: Annotated[int, msgspec.Meta(ge=0, le=255)] = 64
    """Characters of random looks above which a name has the flag ``coded_name``; 0 for never. Default 64."""
    names_per_minute: _Often = 120
    """Different names below one domain in a minute, above which others have the flag ``many_names``; 0 for never. Default 120."""
    coded_per_minute: _Often = 20
    """The same for names with a piece of random looks. Default 20."""
    texts_per_minute: _Often = 30
    """Questions for TXT and the like in a minute, above which they have the flag ``many_texts``; 0 for never. Default 30."""


class ContainerSelector(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``container`` of a workload: all that is given must match; ``*`` and ``?`` in each."""

    id: str = ""
    """The id, in full or its first 12 digits or more; for systemd-nspawn the machine's name. Default any."""
    name: str = ""
    """The name. Default any."""
    image: str = ""
    """The image as the runtime has it on record. Default any."""
    label: tuple[Annotated[str, msgspec.Meta(pattern="=", description='"KEY=VALUE"')], ...] = ()
    """Labels ``KEY=VALUE`` that it must all have. Default none."""
    runtime: Literal["", "docker", "podman", "containerd", "cri-o", "nspawn"] = ""
    """``docker``, ``podman``, ``containerd``, ``cri-o`` or ``nspawn``. Default any."""


class Executable(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``executable`` of a workload: a program."""

    path: AbsolutePath
    """Path of the program; symbolic links are followed at start. Required."""
    sha256: tuple[Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z", description="64 hexadecimal digits")], ...] = ()
    """Hashes that the program may have; with another it is refused. Default any."""


# Defaults are left out of the message that takes the document to a worker: they don't keep to what a file's values must.
class Workload(Section, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """``[workloads.NAME]``: a set of processes on this host; one of cgroup, unit, slice, container, or user, or executable."""

    cgroup: Annotated[str, msgspec.Meta(pattern=r"^[^/]", description="a path below the cgroup2 mount, without a leading /")] = ""
    """The cgroup's path below the cgroup2 mount, made if absent; or a pattern with ``*``, ``?``, ``**``. Default none."""
    unit: Annotated[str, msgspec.Meta(min_length=1, description="the name of a unit")] = ""
    """systemd service or scope of the system manager, with ``*`` and ``?``. Default none."""
    slice: Annotated[str, msgspec.Meta(min_length=1, description="the name of a slice")] = ""
    """systemd slice, with ``*`` and ``?`` behind the last dash. Default none."""
    container: ContainerSelector | None = None
    """Containers, by what their runtime knows of them. Default none."""
    user: tuple[Annotated[str, msgspec.Meta(min_length=1, description="a UNIX user name or a uid")], ...] = ()
    """UNIX users (names, or uids as digits) that the processes run as. Default any."""
    executable: Executable | None = None
    """The program that the processes run. Default any."""
    agent: str
    """Name of the agent that its traffic is attributed to. Required."""
    families: Annotated[tuple[Family, ...], msgspec.Meta(min_length=1)] = SEEN_FAMILIES
    """Families in which its programs, run by ``hostguard exec``, may make sockets. Default unix, inet, inet6, netlink."""
    mode: Literal["enforce", "observe"] = "enforce"
    """``observe``: everything passes, and goes on record with what policy would have said. Default ``enforce``."""
    allow_io_uring: bool = False
    """Whether ``hostguard exec`` leaves its programs io_uring, which makes sockets of any family. Default false."""

    @property
    def observed(self) -> bool:
        """Nothing of it is refused, only recorded."""
        return self.mode == "observe"

    @property
    def loosened(self) -> tuple[str, ...]:
        """What its programs may have that the hooks don't see."""
        more = tuple(f"{family} sockets" for family in self.families if family not in SEEN_FAMILIES)
        return (*more, "io_uring") if self.allow_io_uring else more


class Agent(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[agents.NAME]``: a principal."""

    owner: str
    """Name of the user who answers for the agent. Required."""
    roles: tuple[Name, ...] = ()
    """Roles that policies can name. Default none."""
    identity: dict[Name, Requirement] = {}
    """Who must vouch for it, by the issuer's name. Default nobody: it is its workload."""


ServerName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(\*\.)?[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\Z",
        description='a host name in lower case without a final dot, or one with "*." before it',
    ),
]


class Resource(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[resources.NAME]``: a system that agents may reach."""

    protocol: Literal["postgres", "tls"]
    """The protocol spoken there: ``postgres``, or ``tls``, which passes unread once it may connect. Required."""
    addresses: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, description="a list of at least one address")]
    """``IPv4:port``, ``[IPv6]:port``, ``hostname:port``, ``unix:/path`` or ``unix:@name``. Required."""
    names: tuple[ServerName, ...] = ()
    """``tls``: names that clients may call the server by (SNI), beside host names in `addresses`. Default none."""
    ech: bool = False
    """``tls``: whether clients may hide the name that they call (ECH), which any name can be then. Default false."""
    environment: Name | None = None
    """The environment it belongs to, for policies to name. Default none."""
    detect: bool = True
    """Whether replies are looked through for the values that tags `detect`. Default true."""
    detect_skip: tuple[str, ...] = ()
    """Columns that are not looked through: ``database/schema/table/column``. Default none."""
    phone_regions: tuple[
        Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{2}\Z", description="a country by two letters, such as US")], ...
    ] = ("US",)
    """Countries whose national telephone numbers are detected, beside all in international form. Default ``["US"]``."""
    capture_replies: bool = False
    """Whether the rows that agents get, as they get them, are kept as payloads. Default false."""
    capture_max_bytes: Annotated[int, msgspec.Meta(ge=1, le=8_388_608)] = 1_048_576
    """Bytes of one operation's reply that are kept; of a longer one the beginning, marked as such. Default 1048576."""
    client_tls: ClientTls | None = None
    """TLS between agents and hostguard: ``offer``, ``require``, ``off``. Default ``offer``, ``off`` where `server_tls` is."""
    server_tls: ServerTls | None = None
    """TLS to the server, and how sure of it. Default ``verify-full``, ``off`` where all addresses are the loopback's."""
    server_negotiation: Literal["postgres", "direct"] = "postgres"
    """Whether the server is asked for TLS (SSLRequest), or hears it at once, from PostgreSQL 17 on. Default ``postgres``."""
    server_roots: Annotated[str, msgspec.Meta(pattern=r"^(/.+)?\Z", description="an absolute path")] = ""
    """PEM file of the authorities that may vouch for the server. Default the system's."""
    server_name: HostName = ""
    """Name that the server's certificate must be for. Default the host name in the address."""
    credential: Name | None = None
    """Name of the credential that hostguard logs in with. Default none: the agent's own login passes through."""
    client_password: str = ""
    """Word, no secret, that agents are asked for by SCRAM. Default none: who they are is known from the kernel."""


JsonPath = Annotated[
    str, msgspec.Meta(pattern=r"^[^.]+(\.[^.]+)*\Z", description="keys with single dots between them, such as a.b")
]
"""From the top of a JSON document: keys, ``*`` for any key or place of an array."""


class MaskRule(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``mask`` of a tag: how its values are hidden."""

    kind: Literal["null", "redact", "partial", "hash", "constant", "date_year", "format"] = "redact"
    """``null``, ``redact``, ``partial``, ``hash``, ``constant``, ``date_year`` or ``format``. Default ``redact``."""
    keep: Annotated[int, msgspec.Meta(ge=0, le=64)] = 0
    """``partial``: trailing characters that stay; an e-mail's domain stays as well. Default 0."""
    text: str = "***"
    """``redact`` and ``constant``: the text that stands in for character values. Default ``***``."""
    leaves: tuple[JsonPath, ...] = ()
    """JSON columns: what is hidden of a document, as ``contact.email`` or ``cards.*.number``. Default all of it."""
    generation: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    """``hash`` and ``format``: another number is another key. Default 0."""


Entity = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,63}\Z", description="a kind of value, such as email")]
"""What detectors tell by its form; which kinds there are is checked with plug-ins in view."""


class Tag(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[tags."NAME"]``: a kind of sensitive data; ``pci.card`` is in ``pci``."""

    columns: tuple[str, ...] = ()
    """Columns that carry the tag: ``resource/database/schema/table/column``. Default none."""
    detect: tuple[Entity, ...] = ()
    """Kinds of values that carry the tag wherever they stand in a column of text or JSON. Default none."""
    mask: MaskRule = MaskRule()
    """How the values look to an agent that may not see them. Default ``{ kind = "redact" }``."""


class Tables(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration file."""

    daemon: Daemon = Daemon()
    log: Log = Log()
    policy: Policies = Policies()
    approvals: Approvals = Approvals()
    limits: Limits = Limits()
    dns: Dns = Dns()
    metrics: Metrics = Metrics()
    ship: Ship = Ship()
    tls: Tls = Tls()
    credentials: dict[Name, Credential] = {}
    vault: Vault = Vault()
    aws: Aws = Aws()
    forward: dict[Name, Forward] = {}
    workloads: dict[Name, Workload] = {}
    agents: dict[Name, Agent] = {}
    users: dict[Name, User] = {}
    issuers: dict[Name, Issuer] = {}
    web: Web = Web()
    sign_in: dict[Name, SignIn] = {}
    resources: dict[Name, Resource] = {}
    tags: dict[Name, Tag] = {}
    duties: dict[Name, Duty] = {}
    exclusions: dict[Name, Exclusion] = {}
    budgets: dict[Name, Budget] = {}
    witnesses: dict[Name, Witness] = {}
    channels: dict[Name, Channel] = {}
