"""The ids of what is asked about: paths of escaped names."""

from __future__ import annotations


def escape(name: str) -> str:
    """One name as a part of a path: no ``/`` of its own, and no two names alike."""
    return name.replace("%", "%25").replace("/", "%2F")


def unescape(part: str) -> str:
    return part.replace("%2F", "/").replace("%25", "%")


def path(*names: str) -> str:
    """``("shop", "shop", "public", "a/b")`` as ``shop/shop/public/a%2Fb``."""
    return "/".join(map(escape, names))


def split(text: str) -> tuple[str, ...]:
    """The names of a path; the inverse of `path`."""
    return tuple(map(unescape, text.split("/")))
