"""Letters that look like others, made visible.

What an approver reads must not be one word while the server reads another (Unicode TS 39, confusables). Shown by number between
white brackets, as `visible` does it, are

- letters of another script in a word that has Latin ones ("payments" with U+0430 for its second letter), and in a word of nothing
  but letters that look Latin;
- whatever is a compatibility form of an ASCII character (full width, mathematical);
- marks that look like quotes, dashes, slashes, stars, which mean something in SQL.

A word of another script that could not be taken for a Latin one stays as it is.
"""

from __future__ import annotations

import re
import unicodedata

from .visible import visible, visible_lines

_LATIN_LIKE = frozenset(
    "аеорсухіїјѕһԁԛԝӏьвкмнтгпзАВЕЗКМНОРСТУХІЇЈЅԌԚԜӀҮүҺЬ"  # Cyrillic
    "αβγεηικνορτυχωϲϳΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹͿ"  # Greek
    "աեհոսցօԼՕՍՏ"  # Armenian
    "ꓐꓑꓓꓔꓖꓗꓚꓜꓝꓠꓡꓢꓣꓤꓥꓦꓧꓨꓩꓪꓬꓮꓯꓰꓱꓲꓳꓴ"  # Lisu
    "ᎠᎡᎢᎥᎩᎪᎫᎬᎳᎵᎷᎻᎽᏀᏂᏃᏎᏏᏔᏕᏙᏚᏞᏟᏢᏣᏦᏧ"  # Cherokee
)
_FALSE_LATIN = frozenset("ıȷɑɡɩʟɪʀʜɴꞵſƖǀǃᴀᴄᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢꜱʏ")
"""Latin, but not the letter that they look like."""
_MARKS = frozenset("‘’‚‛′‵ʹʻʼʽˈ“”„‟″‶‐‑‒–—―−⁃⁄∕∖∗⁎⁏‹›∣ǀ﹘·∶˸։׃ː٭‧∙•⋅")
_WORD = re.compile(r"\w+")


def unmistakable(text: str) -> str:
    """The text on one line, as `visible`, with look-alikes named as well. O(len(text))."""
    return marked(visible(text))


def unmistakable_lines(text: str) -> tuple[str, ...]:
    """As `visible_lines`, with look-alikes named as well."""
    return tuple(map(marked, visible_lines(text)))


def marked(text: str) -> str:
    """What `visible` gave, with look-alikes named."""
    if text.isascii():
        return text
    words = _WORD.sub(lambda found: _word(found[0]), text)
    return words if words.isascii() else "".join(_named(char) if _misleads(char) else char for char in words)


def _word(word: str) -> str:
    if word.isascii():
        return word
    letters = [char for char in word if char.isalpha()]
    foreign = [char for char in letters if not char.isascii() and not _is_latin(char)]
    mixed = bool(foreign) and any(char.isascii() or _is_latin(char) for char in letters)
    if mixed or (foreign and all(char in _LATIN_LIKE for char in letters)):
        return "".join(_named(char) if char in foreign else char for char in word)
    return word


def _is_latin(char: str) -> bool:
    return unicodedata.name(char, "").startswith("LATIN ")


def _misleads(char: str) -> bool:
    if char.isascii() or char in "⟦⟧":
        return False
    # A letter that is composed of others, as é is, stays; a compatibility form of ASCII does not.
    return char in _MARKS or char in _FALSE_LATIN or unicodedata.normalize("NFKC", char).isascii()


def _named(char: str) -> str:
    return f"⟦U+{ord(char):04X}⟧"
