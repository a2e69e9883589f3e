"""Detectors of national identifiers, by the checks of python-stdnum."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

from stdnum.au import tfn
from stdnum.be import nn
from stdnum.br import cpf
from stdnum.ca import sin
from stdnum.ch import ssn as ahv
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fi import hetu
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar, pan
from stdnum.it import codicefiscale
from stdnum.mx import curp
from stdnum.nl import bsn
from stdnum.no import fodselsnummer
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.us import ssn

from .found import LEFT, RIGHT, Detector

_CONTEXT_CHARS = 40


class _Kind(NamedTuple):
    """One country's identifier: its form, its check, the words that must stand before it where the check alone says little."""

    form: str
    module: ModuleType
    words: str = ""


# A check that lets one random number in ten pass is no evidence: such a number counts only as people write it,
# or behind its name.
_KINDS = (
    _Kind(r"\d{3}-\d{2}-\d{4}", ssn),
    _Kind(r"\d{3} ?\d{2} ?\d{4}", ssn, r"\bssn\b|social.security"),
    _Kind(r"\d{3}[ -]\d{3}[ -]\d{4}", nhs, r"\bnhs\b"),
    _Kind(r"\d{10}", nhs, r"\bnhs\b"),
    _Kind(r"[1-478]\d{2}(?:0[1-9]|1[0-2])\d{8}(?:\d{2})", nir),
    _Kind(r"[12] \d{2} \d{2} (?:\d{2}|2[AB]) \d{3} \d{3} \d{2}", nir),
    _Kind(r"\d{2} ?\d{3} ?\d{3} ?\d{3}", idnr, r"steuer|tax.?id|\bidnr\b|\btin\b"),
    _Kind(r"\d{8}-?[A-Z]", dni),
    _Kind(r"[XYZ]-?\d{7}-?[A-Z]", nie),
    _Kind(r"[A-Z]{6}[0-9LMNPQRSTUV]{2}[A-EHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]", codicefiscale),
    _Kind(r"\d{9}", bsn, r"\bbsn\b|burgerservice|sofi"),
    _Kind(r"\d{2}[.]\d{2}[.]\d{2}-\d{3}[.]\d{2}", nn),
    _Kind(r"\d{11}", nn, r"rijksregister|registre.national|\bnn\b|\binsz\b|\bniss\b"),
    _Kind(r"\d{11}", pesel, r"\bpesel\b"),
    _Kind(r"\d{6}[-+]\d{4}", personnummer),
    _Kind(r"(?:19|20)\d{6}-?\d{4}", personnummer, r"person"),
    _Kind(r"\d{6}[-+ABCDEFYXWVU]\d{3}[0-9A-Y]", hetu),
    _Kind(r"\d{6} \d{5}", fodselsnummer),
    _Kind(r"\d{11}", fodselsnummer, r"f.dsels|personnummer"),
    _Kind(r"\d{3}\.\d{3}\.\d{3}-\d{2}", cpf),
    _Kind(r"\d{11}", cpf, r"\bcpf\b"),
    _Kind(r"[2-9]\d{3} \d{4} \d{4}", aadhaar),
    _Kind(r"\d{12}", aadhaar, r"aadha+r|\buid\b"),
    _Kind(r"[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]", pan, r"\bpan\b|permanent.account"),
    _Kind(r"[A-Z]{4}\d{6}[HM][A-Z]{5}[0-9A-Z]\d", curp),
    _Kind(r"756\.\d{4}\.\d{4}\.\d{2}", ahv),
    _Kind(r"\d{3}[ -]\d{3}[ -]\d{3}", sin, r"\bsin\b|social.insurance"),
    _Kind(r"\d{3} ?\d{3} ?\d{3}", tfn, r"\btfn\b|tax.file"),
)
_FORMS = re.compile("|".join(f"(?P<k{number}>{LEFT}{kind.form}{RIGHT})" for number, kind in enumerate(_KINDS)))
_EACH = tuple(re.compile(f"{LEFT}{kind.form}{RIGHT}") for kind in _KINDS)
_WORDS = tuple(re.compile(kind.words, re.IGNORECASE) if kind.words else None for kind in _KINDS)


def _find(text: str) -> Iterator[tuple[int, int]]:
    # One expression finds where anything begins; the kinds that begin there are then tried one by one.
    for match in _FORMS.finditer(text):
        start = match.start()
        for kind, each, words in zip(_KINDS, _EACH, _WORDS, strict=True):
            found = each.match(text, start)
            if found is None or (words is not None and not words.search(text, max(0, start - _CONTEXT_CHARS), start)):
                continue
            if kind.module.is_valid(found[0]):
                yield found.span()
                break


NATIONAL_ID = Detector(
    "national_id",
    (
        r"\d{6}", r"\d{3}[ .-]\d{2,3}[ .-]\d{3}", r"\d{2}[ .]\d{2,3}[ .]\d", r"\d{4} \d{4} \d{4}", r"[A-Z]{5}[A-Z0-9]\d{2}",
        r"[XYZ]-?\d{7}", r"\d \d{2} \d{2} ", r"756\.\d{4}", r"[A-Z]{6}[0-9LMNPQRSTUV]{2}",
    ),
    _find,
)  # fmt: skip
