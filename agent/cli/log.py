"""``hostguard log``: the log as evidence; needs no daemon.

With ``--folder`` and ``--key`` it needs no configuration either: an auditor checks a copy of the log's folder anywhere.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ...policy.document import Document
from ...recorder.checkpoint import Checkpoint, open_checkpoint
from ...recorder.findings import Finding, Head, Report
from ...recorder.handover import Keys, keys_of
from ...recorder.note import BadNote, Verifier, parse_note, parse_verifier
from ...recorder.packing import LogCorrupt, unpack
from ...recorder.prove import TileMissing, check_proof, prove
from ...recorder.tree import BadProof
from ...recorder.treefiles import CHECKPOINT, read_file
from ...recorder.verify import verify
from ...recorder.visible import visible
from ...recorder.witnessed import Witnessed, kept, kept_names, taken
from ..failures import Failure
from ..open_log import open_log
from ..paths import Paths
from ..rotation import rotate
from .identity import decrypt_with, identity_option
from .options import config_option, configured, json_option
from .output import clock, err, out, print_json

Command = Callable[..., Any]


@click.group("log")
def command() -> None:
    """The log as evidence: what is proven of it, by whose word, and proofs to hand out.

    Entries are leaves of a Merkle tree (RFC 6962); signed checkpoints, tiles and proofs are in the formats of C2SP (tlog-tiles,
    tlog-checkpoint, tlog-proof), which other tools read. docs/recordings.md has what that proves.
    """


@dataclass(frozen=True, slots=True)
class Subject:
    """The log that a command is about."""

    folder: Path
    keys: Keys
    """Found by the one that was given, or is in force here."""
    document: Document | None
    """None when everything was given on the command line."""

    def witnessed(self) -> tuple[list[Witnessed], list[Finding]]:
        """What witnesses have, largest first, and what is not right of it.

        Cosignatures are checked with the keys that the configuration has.
        """
        found, wrong = [], []
        for place, read in (*self._kept(), *self._files()):
            try:
                one = read()
            except FileNotFoundError:
                continue
            except (BadNote, OSError) as error:
                wrong.append(Finding(place, f"what is kept of a witness is not right: {error}"))
                continue
            if one is not None:
                found.append(one)
        return sorted(found, key=lambda one: one.checkpoint.size, reverse=True), wrong

    def _kept(self) -> Iterator[tuple[str, Callable[[], Witnessed | None]]]:
        keys = {} if self.document is None else {name: to.key for name, to in self.document.witnesses.items()}
        for name in kept_names(self.folder):
            yield f"witness/{name}", partial(kept, self.folder, name, self.keys, keys.get(name, ""))

    def _files(self) -> Iterator[tuple[str, Callable[[], Witnessed | None]]]:
        """Heads in files elsewhere say more than what is kept of them here."""
        witnesses = {} if self.document is None else self.document.witnesses
        for name, to in witnesses.items():
            if to.file:
                yield to.file, partial(self._read, f"{name} ({to.file})", Path(to.file))

    def _read(self, name: str, path: Path) -> Witnessed:
        return taken(name, path.read_text(encoding="utf-8", errors="replace"), self.keys)


def subject_options(command: Command) -> Command:
    """``--folder`` and ``--key``, the same for all commands here."""
    folder = click.option("--folder", type=click.Path(path_type=Path), default=None, help="The log's folder, or a copy of it.")
    key = click.option("--key", default=None, help="The log's verifier key, as `hostguard log key` shows it.")
    return folder(key(config_option(command)))


def _subject(config: Path, folder: Path | None, key: str | None) -> Subject:
    document = None if folder is not None and key is not None else configured(config)
    if folder is None:
        assert document is not None
        folder = Paths.of(document).log
    trusted = _verifier(document, key)
    try:
        return Subject(folder, keys_of(folder, trusted), document)
    except BadNote as error:
        raise Failure(f"the log's key: {error}") from None


def _verifier(document: Document | None, key: str | None) -> Verifier:
    if key is None:
        assert document is not None
        return Paths.of(document).log_verifier()
    try:
        return parse_verifier(key)
    except BadNote as error:
        raise click.UsageError(f"--key: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None


def _checkpoint(subject: Subject) -> tuple[Checkpoint, str]:
    data = read_file(subject.folder, CHECKPOINT)
    if data is None:
        raise Failure(f"{subject.folder / CHECKPOINT} is not there: nothing is sealed yet")
    try:
        text = data.decode("utf-8", "replace")
        return open_checkpoint(text, subject.keys.current)[0], text
    except BadNote as error:
        raise Failure(f"the checkpoint: {error}") from None


@command.command("verify")
@click.option("--from", "remembered", type=click.Path(path_type=Path), default=None, help="A checkpoint file kept from before.")
@click.option("--whole", is_flag=True, help="With --from: read everything all the same.")
@identity_option
@json_option
@subject_options
def verify_log(
    config: Path,
    folder: Path | None,
    key: str | None,
    as_json: bool,
    identity: tuple[Path, ...],
    remembered: Path | None,
    whole: bool,
) -> None:
    """Check all that is in the log's folder: entries, tiles, bundles, payloads, checkpoint, and what others have seen of it.

    With --from, the log must go on from that checkpoint, and only entries after it are read. Exit code 1 when anything is not as
    it was sealed: the index, what was expected, what was found. Encrypted payloads are checked byte for byte without a key; with
    --identity also what is in them.
    """
    decrypt = decrypt_with(identity) or (lambda _: None)
    subject = _subject(config, folder, key)
    witnessed, wrong = subject.witnessed()
    heads = [Head(f"witness {one.name}", one.checkpoint) for one in witnessed]
    start = _remembered(subject, remembered)
    if start is not None and whole:
        heads.append(Head(f"the checkpoint in {remembered}", start))
        start = None
    with _progress(_expected(subject)) as progress:
        report = verify(subject.folder, subject.keys.trusted, heads, start, progress, decrypt)
    report.findings += wrong
    if as_json:
        print_json(_facts(report, witnessed))
    else:
        _show_report(report, witnessed)
    sys.exit(1 if report.findings else 0)


def _remembered(subject: Subject, path: Path | None) -> Checkpoint | None:
    if path is None:
        return None
    try:
        return subject.keys.open(_text(path))
    except BadNote as error:
        raise Failure(f"{path}: {error}") from None


def _expected(subject: Subject) -> int:
    try:
        return _checkpoint(subject)[0].size
    except Failure:
        return 0


@contextmanager
def _progress(expected: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, where somebody looks."""
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TextColumn("entries"), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("verify", total=expected)
        yield lambda done: bar.update(task, completed=done)


def _facts(report: Report, witnessed: list[Witnessed]) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.to_builtins(report)
    facts["root"] = report.root.hex()
    facts["verified"] = not report.findings
    facts["witnesses"] = [{"name": one.name, "size": one.checkpoint.size, "cosigned_s": one.cosigned_s} for one in witnessed]
    return facts


def _show_report(report: Report, witnessed: list[Witnessed]) -> None:
    for finding in report.findings:
        out.print("[red]✗[/] ", end="")
        out.print(f"{visible(finding.place)}: {visible(finding.problem)}", markup=False)
        if finding.expected or finding.found:
            out.print(f"    expected {finding.expected or 'nothing'}, found {finding.found or 'nothing'}", markup=False)
    if report.findings:
        out.print("[bold red]The log is not what was sealed.[/]")
        return
    if report.sealed:
        out.print(f"[green]✓[/] {report.sealed} entries are exactly those that were sealed, by {visible(report.origin)}")
        out.print(f"  root {report.root.hex()}", markup=False, style="dim")
    for entry, before, after in zip(report.handed_over, report.keys, report.keys[1:], strict=False):
        short = (text.removeprefix(f"{report.origin}+").partition("+")[0] for text in (before, after))
        out.print(f"  the key {' handed over to '.join(short)} at entry {entry}, under a checkpoint that both signed")
    if report.begun_at:
        out.print(f"  those before entry {report.begun_at} by the remembered checkpoint, without reading them")
    if report.removed:
        out.print(f"  those before entry {report.removed} were removed by retention, on record: their hashes only were checked")
    if report.carried:
        out.print(f"  {report.carried} of them are kept, because later ones need them, and are what was sealed")
    if report.payloads:
        out.print(f"[green]✓[/] {report.payloads} payloads have the content that their names say")
        _show_encrypted(report)
    _show_witnessed(report, witnessed)
    if report.entries > report.sealed:
        out.print(
            f"[yellow]·[/] {report.entries - report.sealed} entries at the end are not sealed yet: only their CRCs were checked"
        )
    if report.torn:
        out.print(f"[yellow]·[/] {report.torn} bytes behind them are no whole entry: being written, or torn by a crash")


def _show_encrypted(report: Report) -> None:
    if report.opened:
        out.print(f"[green]✓[/] {report.opened} of them are encrypted, were opened, and are what the entries say")
    if unopened := report.encrypted - report.opened:
        out.print(f"[yellow]·[/] {unopened} of them are encrypted and were not opened (--identity opens them)")


def _show_witnessed(report: Report, witnessed: list[Witnessed]) -> None:
    for one in witnessed:
        how = "has" if one.cosigned_s is None else f"cosigned on {clock(one.cosigned_s)}"
        out.print(f"[green]✓[/] witness {visible(one.name)} {how} the first {one.checkpoint.size}")
    if report.sealed and not witnessed:
        out.print("[yellow]·[/] no witness has seen any of it: who has root here and the key could have written another past")


@command.command("checkpoint")
@json_option
@subject_options
def checkpoint(config: Path, folder: Path | None, key: str | None, as_json: bool) -> None:
    """Print the newest signed checkpoint. Keep a copy where this host can't reach it: `log verify --from` takes it."""
    found, text = _checkpoint(_subject(config, folder, key))
    if as_json:
        print_json({"origin": found.origin, "size": found.size, "root": found.root.hex(), "note": text})
    else:
        sys.stdout.write(text)


@command.command("key")
@json_option
@config_option
def key(config: Path, as_json: bool) -> None:
    """Print the public key that checks the log's checkpoints (a C2SP verifier key); witnesses and auditors need it."""
    verifier = Paths.of(configured(config)).log_verifier()
    if as_json:
        print_json({"origin": verifier.name, "key": str(verifier)})
    else:
        sys.stdout.write(f"{verifier}\n")


@command.command("rotate-key")
@json_option
@config_option
def rotate_key(config: Path, as_json: bool) -> None:
    """Hand the log over to a new key and destroy the old one. Stop the daemon first; guarded agents are refused meanwhile.

    The old key signs a checkpoint over an entry that names the new one, and so does the new key: `log verify --key OLD` follows
    to it. A rotation that broke off is completed by the next. Give witnesses the key that this prints.
    """
    document = configured(config)
    paths = Paths.of(document)
    if not paths.log.is_dir():
        raise Failure(f"{paths.log} is not there: no daemon has begun a log yet")
    paths.make()
    with ExitStack() as undo:
        undo.callback(os.close, paths.lock())
        log = open_log(document, paths)
        undo.callback(log.close)
        old, new = rotate(paths, log)
    if as_json:
        print_json({"origin": new.name, "old": str(old), "key": str(new)})
    else:
        sys.stdout.write(f"{new}\n")
        err.print(f"the log's key is now this one; {old.key_id.hex()} is destroyed. Witnesses need the new one", markup=False)


@command.command("prove")
@click.argument("entry", type=click.IntRange(0))
@json_option
@subject_options
def prove_entry(config: Path, folder: Path | None, key: str | None, as_json: bool, entry: int) -> None:
    """Print a proof that the log has this entry, as C2SP tlog-proof: the entry, the hashes up to the root, the checkpoint.

    It needs nothing else to be checked but the log's key. The checkpoint is the largest that a witness has cosigned, if that is
    over the entry, else the newest.
    """
    subject = _subject(config, folder, key)
    found, note = _checkpoint(subject)
    cosigned = (one for one in subject.witnessed()[0] if one.cosigned_s is not None and one.checkpoint.size > entry)
    # One that only an earlier key signed would not be checked with the key that is in force.
    best = next((one for one in cosigned if subject.keys.current.of(parse_note(one.note))), None)
    if best is not None:
        found, note = best.checkpoint, best.note
    try:
        text = prove(subject.folder, entry, found, note)
    except (ValueError, TileMissing, LogCorrupt, BadProof) as error:
        raise Failure(str(error)) from None
    if as_json:
        print_json({"entry": entry, "size": found.size, "root": found.root.hex(), "proof": text})
    else:
        sys.stdout.write(text)


@command.command("check-proof")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--key", default=None, help="The log's verifier key; without it, that of this host's log.")
@json_option
@config_option
def check(config: Path, as_json: bool, file: Path, key: str | None) -> None:
    """Check a file that `log prove` made, with nothing but the log's key, and show the entry that it proves.

    Exit code 1 when it proves nothing.
    """
    verifier = _verifier(None if key else configured(config), key)
    try:
        proven = check_proof(_text(file), verifier)
        entry = unpack(proven.entry)
    except (BadNote, BadProof, LogCorrupt) as error:
        raise Failure(f"{file} proves nothing: {error}") from None
    fields = msgspec.to_builtins(entry, builtin_types=(bytes,))
    if as_json:
        print_json({"entry": proven.index, "size": proven.checkpoint.size, "origin": proven.checkpoint.origin, "fields": fields})
        return
    out.print(f"[green]✓[/] entry {proven.index} of the {proven.checkpoint.size} that {visible(verifier.name)} sealed:")
    for name, value in fields.items():
        out.print(f"  {visible(name)}: {visible(str(value))}", markup=False)
