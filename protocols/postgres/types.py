"""Which of PostgreSQL's built-in types are made of which.

OIDs are those of ``pg_type.dat`` and ``pg_range.dat`` (PostgreSQL 18); they are fixed.
"""

from __future__ import annotations

CHARACTER = frozenset({25, 1043, 1042, 19, 705, 142, 2275})
"""text, varchar, bpchar, name, unknown, xml, cstring: in both formats the characters as they are."""
TEXT = 25
BPCHAR = 1042
CHAR = 18
"""``"char"``: one byte."""
JSON, JSONB = 114, 3802
RECORD = 2249
FIRST_USER_TYPE = 16384
"""FirstNormalObjectId: types from here on were made by users (enum, citext, composite, range, their arrays)."""

ARRAYS = {
    1000: 16, 1001: 17, 1002: 18, 1003: 19, 1016: 20, 1005: 21, 1007: 23, 1009: 25, 1028: 26, 199: 114, 143: 142, 1021: 700,
    1022: 701, 791: 790, 775: 774, 1040: 829, 1041: 869, 651: 650, 1014: 1042, 1015: 1043, 1182: 1082, 1183: 1083, 1115: 1114,
    1185: 1184, 1187: 1186, 1270: 1266, 1561: 1560, 1563: 1562, 1231: 1700, 2951: 2950, 3807: 3802, 3643: 3614, 3645: 3615,
    2287: 2249, 1263: 2275, 1011: 28, 1013: 30, 1006: 22, 2949: 2970, 271: 5069, 3221: 3220, 1017: 600, 1018: 601, 1019: 602,
    1020: 603, 1027: 604, 629: 628, 719: 718, 3905: 3904, 3907: 3906, 3909: 3908, 3911: 3910, 3913: 3912, 3927: 3926, 6150: 4451,
    6151: 4532, 6152: 4533, 6153: 4534, 6155: 4535, 6157: 4536,
}  # fmt: skip
"""Array to its elements' type."""

RANGES = {3904: 23, 3906: 1700, 3908: 1114, 3910: 1184, 3912: 1082, 3926: 20}
"""Range to its bounds' type."""

MULTIRANGES = {4451: 3904, 4532: 3906, 4533: 3908, 4534: 3910, 4535: 3912, 4536: 3926}
"""Multirange to its ranges' type."""
