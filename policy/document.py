"""The configuration as one checked document: the TOML file with the policies it names."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from .references import dangling
from .rules import RuleError, Source, base_source, parse
from .sections import Daemon, Policies, Tables
from .strict import Mistake, read
from .toml_lines import dotted, key_lines, line_of


class ConfigError(msgspec.Struct, frozen=True):
    """One mistake in the configuration, and where it stands."""

    file: str
    """Path of the file; of a policy file when the mistake is in a policy."""
    key: str
    """The key as TOML writes it (``tags."pii.email".mask``), or the id of a policy; empty when there is neither."""
    message: str
    line: int = 0
    """From 1; 0 when not known."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigErrors(Exception):
    """Everything that is wrong with the configuration, in one go; `errors` is never empty."""

    def __init__(self, errors: list[ConfigError]) -> None:
        self.errors = errors
        super().__init__("\n".join(map(str, errors)))


class Document(Tables, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration without mistakes: the sections, and the texts of the policies."""

    file: str
    """Path of the TOML file, as given."""
    text: str = ""
    """What is in it."""
    sources: tuple[Source, ...] = ()
    """The policy files, the base policy first unless it is off."""

    def workloads_of(self, agent: str) -> list[str]:
        """Names of the workloads that are attributed to the agent."""
        return [name for name, workload in self.workloads.items() if workload.agent == agent]


def load(path: str | os.PathLike[str]) -> Document:
    """The document at `path`. Raises `ConfigErrors` with every mistake in the file and in the policies it names."""
    file = os.fspath(path)
    try:
        text = _exactly(Path(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigErrors([_unreadable(file, error)]) from None
    return _composed(file, text, lambda section, mistakes: _sources(Path(path).parent, section, mistakes))


def of_texts(file: str, text: str, sources: Sequence[Source]) -> Document:
    """The document that a TOML file of that text makes with these policies, the base policy first unless it is off.

    Raises `ConfigErrors`.
    """

    def found(section: Policies, _: list[Mistake]) -> list[Source]:
        return [Source(source.file, source.text, base=section.base and source is sources[0]) for source in sources]

    return _composed(file, text, found)


def _composed(file: str, text: str, find: Callable[[Policies, list[Mistake]], list[Source]]) -> Document:
    raw = _parse_toml(file, text)
    mistakes: list[Mistake] = []
    tables: Tables = read(raw, Tables, (), mistakes)
    mistakes.extend(dangling(tables, raw))
    sources = find(tables.policy, mistakes)
    wrong: list[RuleError] = []
    parse(sources, wrong)
    lines = key_lines(text)
    errors = [ConfigError(file, dotted(m.path), m.message, line_of(m.path, lines)) for m in mistakes]
    errors.sort(key=lambda error: error.line)
    errors += [ConfigError(e.file, e.id, e.message, e.line) for e in sorted(wrong, key=lambda e: (e.file, e.line))]
    if errors:
        raise ConfigErrors(errors)
    fields = {name: getattr(tables, name) for name in Tables.__struct_fields__}
    return Document(**fields, file=file, text=text, sources=tuple(sources))


def load_daemon(path: str | os.PathLike[str]) -> Daemon:
    """Only where the daemon keeps its things, whatever else is wrong in the file: to ask a running daemon takes no more.

    Raises `ConfigErrors` when the file is no TOML or that section is wrong.
    """
    file = os.fspath(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigErrors([_unreadable(file, error)]) from None
    mistakes: list[Mistake] = []
    daemon: Daemon = read(_parse_toml(file, text).get("daemon", {}), Daemon, ("daemon",), mistakes)
    if mistakes:
        raise ConfigErrors([ConfigError(file, dotted(m.path), m.message) for m in mistakes])
    return daemon


def _exactly(path: Path) -> str:
    """A file's text, line ends as they are: its hash is put on record."""
    return path.read_bytes().decode("utf-8")


def _unreadable(file: str, error: OSError | UnicodeDecodeError) -> ConfigError:
    why = error.strerror or str(error) if isinstance(error, OSError) else "is not UTF-8"
    return ConfigError(file, "", f"can't be read: {why}")


def _parse_toml(file: str, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).rpartition(" (at ")
        line = place.removeprefix("line ").split(",")[0]
        number = int(line) if line.isdigit() else text.count("\n") + 1
        raise ConfigErrors([ConfigError(file, "", f"not TOML: {message or error}", number)]) from None


def _sources(folder: Path, section: Policies, mistakes: list[Mistake]) -> list[Source]:
    found = [base_source()] if section.base else []
    seen: set[Path] = set()
    for pattern in section.files:
        paths = sorted(folder.glob(pattern)) if not os.path.isabs(pattern) else sorted(Path("/").glob(pattern.lstrip("/")))
        files = [path for path in paths if path.is_file() and path.resolve() not in seen]
        if not paths:
            mistakes.append(Mistake(("policy", "files"), f'no file matches "{pattern}" in {folder}'))
        for path in files:
            seen.add(path.resolve())
            try:
                found.append(Source(str(path), _exactly(path)))
            except (OSError, UnicodeDecodeError) as error:
                mistakes.append(Mistake(("policy", "files"), f"{path} {_unreadable('', error).message}"))
    return found
