"""The text of a configuration with other generations: only they are changed, however the mask is written."""

from __future__ import annotations

import tomllib

import pytest

from hostguard.policy.generations import CantRaise, keyed_tags, raised

TEXT = """\
# our tags
[tags."pii.email"]   # mail
columns = ["a/b/c/d/generation = 1"]
mask = { kind = "hash" }  # keyed

[tags.card]
mask = { generation = 3, kind = 'format', text = "kind = \\"hash\\"" }
[tags.name]
mask.kind = "hash"
[tags.born.mask]
kind = "format"
generation = 1_0
[tags.plain]
mask = { kind = "null" }
"""


def test_the_keyed_masks_are_told() -> None:
    assert keyed_tags(TEXT) == {"pii.email": 0, "card": 3, "born": 10, "name": 0}


@pytest.mark.parametrize("tag", ["pii.email", "card", "born"])
def test_only_the_generation_changes(tag: str) -> None:
    changed = raised(TEXT, [tag], 11)
    assert keyed_tags(changed) == {**keyed_tags(TEXT), tag: 11}
    assert len([a for a, b in zip(TEXT.splitlines(), changed.splitlines(), strict=True) if a != b]) == 1


def test_several_at_once_get_one() -> None:
    assert keyed_tags(raised(TEXT, ["pii.email", "card"], 11)) == {"pii.email": 11, "card": 11, "born": 10, "name": 0}


def test_a_table_without_a_generation_gets_one() -> None:
    text = TEXT.replace("generation = 1_0\n", "")
    assert keyed_tags(raised(text, ["born"], 11))["born"] == 11


@pytest.mark.parametrize("tag", ["plain", "nowhere"])
def test_a_tag_without_a_key_is_refused(tag: str) -> None:
    with pytest.raises(CantRaise, match=rf"tags\.{tag} has no mask of kind hash or format"):
        raised(TEXT, [tag], 4)


def test_what_is_written_in_another_way_stays() -> None:
    with pytest.raises(CantRaise, match="set generation = 11 by hand"):
        raised(TEXT, ["name"], 11)
    assert tomllib.loads(TEXT)["tags"]["name"]["mask"] == {"kind": "hash"}
