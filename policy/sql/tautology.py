"""Conditions that hold for every row, found by folding what can be folded.

A WHERE that is always true restricts as little as none, and reads as if it did. What is looked for is not a theorem but the
ways people (and models) write "everything": constants, comparisons of constants, comparisons of something with itself, ``x OR
NOT x`` in its spellings, patterns that match any text, tests of system columns that are never null. "Always" leaves nulls
aside: ``x = x`` counts.

`fold` answers with a Python value, NULL (None), or OPEN where the value depends on rows. Whatever is read off a literal marks the
analysis as literal-sensitive: another text of the same shape may differ.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from .found import Found, Tree, name_of, strings
from .functions import PURE, VOLATILE_PURE, classify

OPEN = object()
"""Depends on rows, or not folded."""

SYSTEM_COLUMNS = frozenset({"ctid", "tableoid", "xmin", "xmax", "cmin", "cmax"})
COMPLEMENTS = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">", "~~": "!~~", "!~~": "~~", "~": "!~", "!~": "~"}
REFLEXIVE = {
    "=": True,
    "<=": True,
    ">=": True,
    "~~": True,
    "~~*": True,
    "@>": True,
    "<@": True,
    "<>": False,
    "<": False,
    ">": False,
}
BOOLEANS = {
    **dict.fromkeys(("t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"), True),
    **dict.fromkeys(("f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"), False),
}
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: bool(a == b),
    "<>": lambda a, b: bool(a != b),
    "<": lambda a, b: bool(a < b),
    "<=": lambda a, b: bool(a <= b),
    ">": lambda a, b: bool(a > b),
    ">=": lambda a, b: bool(a >= b),
}
ARITHMETIC: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}
NEGATED = {"!~~": "~~", "!~~*": "~~*", "!~": "~", "!~*": "~*"}
MATCH_ANY = {"~~": "%", "~~*": "%", "~": ".*", "~*": ".*"}


def note_tautology(where: Tree, found: Found) -> None:
    """Flag a condition that is always true."""
    if _truth(fold(where, found), found) is True:
        found.flags.add("tautology")


def fold(node: Tree, found: Found) -> Any:
    """The value of an expression as far as no row is needed: bool, Decimal, str, tuple, None for NULL, or OPEN."""
    known = found.folded.get(id(node), found)
    if known is not found:
        return known
    value = OPEN
    for kind, body in node.items():
        folder = FOLDERS.get(kind)
        value = OPEN if folder is None else folder(body, found)
    found.folded[id(node)] = value
    return value


def _constant(body: Tree, _found: Found) -> Any:
    if body.get("isnull"):
        return None
    if "boolval" in body:
        return bool(body["boolval"].get("boolval", False))
    if "ival" in body:
        return Decimal(body["ival"].get("ival", 0))
    if "fval" in body:
        return _number(body["fval"].get("fval", "0"))
    text: Tree = body.get("sval") or {}
    return OPEN if "bsval" in body else text.get("sval", "")


def _number(text: str) -> Any:
    try:
        return Decimal(text.replace("_", "").strip())
    except InvalidOperation:
        return OPEN


def _boolean(body: Tree, found: Found) -> Any:
    if body["boolop"] == "NOT_EXPR":
        value = _truth(fold(body["args"][0], found), found)
        return not value if isinstance(value, bool) else value
    values = [_truth(fold(arg, found), found) for arg in body["args"]]
    decisive = body["boolop"] == "OR_EXPR"
    if any(value is decisive for value in values) or (decisive and _complementary(body["args"], found)):
        return decisive
    if any(value is OPEN for value in values):
        return OPEN
    return None if None in values else not decisive


def _truth(value: Any, found: Found) -> Any:
    """A value in a boolean's place; ``WHERE 't'`` is a boolean too."""
    if not isinstance(value, str):
        return value
    found.literal_sensitive = True
    return BOOLEANS.get(value.strip().lower(), OPEN)


def _operation(body: Tree, found: Found) -> Any:
    kind, left, right = body["kind"], body.get("lexpr"), body.get("rexpr")
    if left is None or right is None:
        return _unary(body, found)
    if kind in ("AEXPR_OP", "AEXPR_LIKE", "AEXPR_ILIKE"):
        return _binary(strings(body["name"])[-1], left, right, found)
    folder = OPERATIONS.get(kind)
    return OPEN if folder is None else folder(strings(body["name"])[-1], left, right, found)


def _unary(body: Tree, found: Found) -> Any:
    value = fold(body["rexpr"], found) if "rexpr" in body else OPEN
    sign = strings(body["name"])[-1]
    if isinstance(value, Decimal) and sign in "+-":
        return -value if sign == "-" else value
    return OPEN


def _binary(symbol: str, left: Tree, right: Tree, found: Found) -> Any:
    if symbol in NEGATED:
        value = _binary(NEGATED[symbol], left, right, found)
        return not value if isinstance(value, bool) else value
    if symbol in REFLEXIVE and _same(left, right, found):
        return REFLEXIVE[symbol]
    a, b = fold(left, found), fold(right, found)
    if symbol in MATCH_ANY and isinstance(b, str):
        found.literal_sensitive = True
        if not b.strip(MATCH_ANY[symbol]):
            return True
    if a is None or b is None:
        return None
    return OPEN if a is OPEN or b is OPEN else _computed(symbol, a, b, found)


def _computed(symbol: str, a: Any, b: Any, found: Found) -> Any:
    found.literal_sensitive = True
    if symbol == "||" and isinstance(a, str) and isinstance(b, str):
        return a + b
    a, b = _alike(a, b)
    if isinstance(a, Decimal) and isinstance(b, Decimal) and symbol in ARITHMETIC:
        return ARITHMETIC[symbol](a, b)
    if type(a) is not type(b) or symbol not in COMPARISONS:
        return OPEN
    try:
        return COMPARISONS[symbol](a, b)
    except TypeError:
        return OPEN


def _alike(a: Any, b: Any) -> tuple[Any, Any]:
    """An untyped text takes the type of the other side."""
    if isinstance(a, str) and not isinstance(b, str):
        b, a = _alike(b, a)
    elif isinstance(b, str) and isinstance(a, Decimal):
        b = _number(b)
    elif isinstance(b, str) and isinstance(a, bool):
        b = BOOLEANS.get(b.strip().lower(), OPEN)
    return a, b


def _among(symbol: str, left: Tree, right: Tree, found: Found) -> Any:
    """``a IN (…)`` (also spelled ``= ANY``), whose list may hold the left side itself."""
    items = right.get("List", {}).get("items") or right.get("A_ArrayExpr", {}).get("elements") or []
    if fold(left, found) is OPEN:
        items = [item for item in items if item.keys() == left.keys()]
    values = [_binary("=", left, item, found) for item in items]
    if any(value is True for value in values):
        return symbol == "="
    if fold(left, found) is OPEN or not values:
        return OPEN
    return symbol != "=" if all(value is False for value in values) else OPEN


def _between(_symbol: str, left: Tree, right: Tree, found: Found) -> Any:
    low, high = right["List"]["items"]
    parts = (_binary(">=", left, low, found), _binary("<=", left, high, found))
    return True if parts == (True, True) else False if False in parts else OPEN


def _not_between(symbol: str, left: Tree, right: Tree, found: Found) -> Any:
    value = _between(symbol, left, right, found)
    return not value if isinstance(value, bool) else value


def _not_distinct(_symbol: str, left: Tree, right: Tree, found: Found) -> Any:
    if _same(left, right, found):
        return True
    a, b = fold(left, found), fold(right, found)
    if a is OPEN or b is OPEN:
        return OPEN
    return a is b if a is None or b is None else _computed("=", a, b, found)


def _distinct(symbol: str, left: Tree, right: Tree, found: Found) -> Any:
    value = _not_distinct(symbol, left, right, found)
    return not value if isinstance(value, bool) else value


OPERATIONS: dict[str, Callable[[str, Tree, Tree, Found], Any]] = {
    "AEXPR_IN": _among,
    "AEXPR_OP_ANY": _among,
    "AEXPR_BETWEEN": _between,
    "AEXPR_BETWEEN_SYM": _between,
    "AEXPR_NOT_BETWEEN": _not_between,
    "AEXPR_NOT_DISTINCT": _not_distinct,
    "AEXPR_DISTINCT": _distinct,
}


def _null_test(body: Tree, found: Found) -> Any:
    value, wanted = fold(body["arg"], found), body["nulltesttype"] == "IS_NULL"
    fields = strings(body["arg"].get("ColumnRef", {}).get("fields", []))
    if value is OPEN:
        return not wanted if fields and fields[-1] in SYSTEM_COLUMNS else OPEN
    return (value is None) is wanted


def _boolean_test(body: Tree, found: Found) -> Any:
    value = _truth(fold(body["arg"], found), found)
    if value is OPEN:
        return OPEN
    test = body["booltesttype"]
    wanted = {"TRUE": True, "FALSE": False, "UNKNOWN": None}[test.removeprefix("IS_").removeprefix("NOT_")]
    return (value is wanted) is not test.startswith("IS_NOT_")


def _cast(body: Tree, found: Found) -> Any:
    value, target = fold(body["arg"], found), strings(body["typeName"].get("names", []))[-1:]
    found.literal_sensitive |= isinstance(value, (Decimal, str))
    if target == ("bool",):
        return bool(value) if isinstance(value, Decimal) else _truth(value, found)
    if target in (("int2",), ("int4",), ("int8",), ("numeric",), ("float4",), ("float8",)):
        return _number(value) if isinstance(value, str) else Decimal(value) if isinstance(value, bool) else value
    return str(value) if isinstance(value, Decimal) and target in (("text",), ("varchar",)) else value


def _coalesce(body: Tree, found: Found) -> Any:
    for arg in body["args"]:
        if (value := fold(arg, found)) is not None:
            return value
    return None


def _case(body: Tree, found: Found) -> Any:
    """CASE with every arm true, or with a first condition that decides."""
    arms = [item["CaseWhen"] for item in body["args"]]
    results = [fold(arm["result"], found) for arm in arms] + [fold(body["defresult"], found) if "defresult" in body else None]
    if all(result is True for result in results):
        return True
    if "arg" in body:
        return OPEN
    for arm, result in zip(arms, results, strict=False):
        condition = _truth(fold(arm["expr"], found), found)
        if condition is OPEN:
            return OPEN
        if condition is True:
            return result
    return results[-1]


def _sublink(body: Tree, found: Found) -> Any:
    """A subquery over no relation gives exactly one row."""
    inner = body["subselect"].get("SelectStmt", {})
    if not inner.keys() <= {"targetList", "limitOption", "op"}:
        return OPEN
    if body["subLinkType"] == "EXISTS_SUBLINK":
        return True
    if body["subLinkType"] == "EXPR_SUBLINK" and len(inner.get("targetList", [])) == 1:
        return fold(inner["targetList"][0]["ResTarget"]["val"], found)
    return OPEN


def _row(body: Tree, found: Found) -> Any:
    values = tuple(fold(arg, found) for arg in body.get("args", []))
    return OPEN if any(value is OPEN or value is None for value in values) else values


FOLDERS: dict[str, Callable[[Tree, Found], Any]] = {
    "A_Const": _constant,
    "A_Expr": _operation,
    "BoolExpr": _boolean,
    "BooleanTest": _boolean_test,
    "CaseExpr": _case,
    "CoalesceExpr": _coalesce,
    "NullTest": _null_test,
    "RowExpr": _row,
    "SubLink": _sublink,
    "TypeCast": _cast,
}


def _complementary(args: list[Tree], found: Found) -> bool:
    """``x OR NOT x``: two arms of which one is true whatever the row holds."""
    if len(args) < 2:
        return False
    blank = [_arm(arg, found, blank=True) for arg in args]
    if not _has_opposites(blank):
        return False
    exact = [_arm(arg, found, blank=False) for arg in args]
    found.literal_sensitive |= exact != blank
    return _has_opposites(exact)


def _has_opposites(arms: list[tuple[object, ...] | None]) -> bool:
    present = {arm for arm in arms if arm is not None}
    return any(_opposite(arm) in present for arm in present)


def _arm(node: Tree, found: Found, *, blank: bool) -> tuple[object, ...] | None:
    """An OR's arm as (what is asked, of what); None where it may answer differently each time."""
    for kind, body in node.items():
        if kind == "A_Expr" and body["kind"] in ("AEXPR_OP", "AEXPR_LIKE") and "lexpr" in body:
            operands = _key(body["lexpr"], found, blank=blank), _key(body["rexpr"], found, blank=blank)
            return None if None in operands else (strings(body["name"])[-1], *operands)
        if kind == "NullTest":
            key = _key(body["arg"], found, blank=blank)
            return None if key is None else (body["nulltesttype"], key)
        if kind == "BoolExpr" and body["boolop"] == "NOT_EXPR":
            arm = _arm(body["args"][0], found, blank=blank)
            return None if arm is None else _opposite(arm)
        key = _key(node, found, blank=blank)
        return None if key is None else ("", key)
    return None


def _opposite(arm: tuple[object, ...]) -> tuple[object, ...]:
    asked = arm[0]
    if asked in COMPLEMENTS:
        return COMPLEMENTS[str(asked)], *arm[1:]
    other = {"IS_NULL": "IS_NOT_NULL", "IS_NOT_NULL": "IS_NULL", "NOT": "", "": "NOT"}.get(str(asked))
    return (other, *arm[1:]) if other is not None else ()


def _same(left: Tree, right: Tree, found: Found) -> bool:
    """Whether both sides are the same expression, so that they have the same value in every row."""
    if left.keys() != right.keys() or _key(left, found, blank=True) != _key(right, found, blank=True):
        return False
    key = _key(left, found, blank=False)
    found.literal_sensitive |= key != _key(left, found, blank=True)
    return key is not None and key == _key(right, found, blank=False)


def _key(node: Any, found: Found, *, blank: bool) -> object:
    """An expression without its positions, comparable; with `blank` without its literals. None if not steady."""
    if node.__class__ is list:
        parts = tuple(_key(item, found, blank=blank) for item in node)
        return None if None in parts else parts
    if node.__class__ is not dict:
        return node
    place = id(node), blank
    if place not in found.keys:
        found.keys[place] = _key_of(node, found, blank=blank)
    return found.keys[place]


def _key_of(node: Tree, found: Found, *, blank: bool) -> object:
    if "SubLink" in node or ("FuncCall" in node and not _steady(node["FuncCall"])):
        return None
    if blank and "A_Const" in node:
        return "A_Const"
    pairs = tuple((field, _key(value, found, blank=blank)) for field, value in node.items() if field != "location")
    return None if any(value is None for _, value in pairs) else pairs


def _steady(call: Tree) -> bool:
    name = name_of(strings(call["funcname"]))
    return classify(name) == PURE and name.name not in VOLATILE_PURE
