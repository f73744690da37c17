"""Whether letters are words, as statuses and error codes are, or chance, as secrets are: by the letters that follow
one another.

Of two random letters a good half never follow each other in English; of those in words hardly any do.
"""

from __future__ import annotations

import re
from typing import Final

_FOLLOWING: Final = (
    "a:abcdfgiklmnprstuvwxy b:aceijlorstuy c:acehiklorstuy d:adeilnorstuvy e:abcdefghiklmnopqrstuvwxy "
    "f:aefilorstuy g:aeghilmnorsu h:aeimortu i:abcdefgklmnoprstvxz j:eou k:aeilnosw l:acdefilopstuvy "
    "m:abeilmopstu n:abcdefghiklmnoprstuvy o:abcdefgiklmnoprstuvwx p:acehiloprstuy q:u "
    "r:abcdefgiklmnoprstuvwy s:acefhiklmnopstuwy t:abcdefhilmoprstuvwy u:abcdefgilmnoprst v:aeio "
    "w:aehilnors x:aceipt y:eimnopstw z:aeio "
)
"""For each letter those that follow it: 98.8 % of the pairs in the 4,100 words of 4 to 16 small letters that at least
four files each of Python's standard library have."""
_PAIRS: Final = frozenset(row[0] + letter for row in _FOLLOWING.split() for letter in row[2:])
_GAPS: Final = re.compile(r"[^a-z]+")
_COMPLAINT: Final = re.compile(
    r"(?:(?:The|This|Your|A|An) (?:[a-z]+ ){1,3}|Please |Value )?"
    r"(?:is|are|was|were|has|have|must|should|may|can|can['\u2019]t|cannot|does|doesn['\u2019]t|needs?|already|too|not|no|"
    r"contains?|exceeds?|enter|only|[Ii]nvalid|[Rr]equired|[Mm]issing|[Uu]nknown|Must|Cannot|Enter|Not|Too)"
    r"(?: (?:[^\W\d]|\d{1,3}(?!\d)|[ .,:;!()'\u2019-])*)?"
)
"""How a complaint about a field begins, its own name before it at most; what it may quote is no number and no token."""
_TOO_SHORT_TO_TELL: Final = 8
_ABBREVIATED: Final = 3


def looks_spoken(text: str) -> bool:
    """Whether the letters of a text may be words; up to 8 may always be, as country codes and abbreviations are.

    >>> looks_spoken("PAYMENT_PROVIDER_TEMPORARILY_UNAVAILABLE"), looks_spoken("qzmvkxjwtgbpfhd")
    (True, False)
    """
    if len(text) <= _TOO_SHORT_TO_TELL:
        return True
    chunks = [chunk for chunk in _GAPS.split(text.lower()) if len(chunk) > _ABBREVIATED]
    strange = sum(chunk[place : place + 2] not in _PAIRS for chunk in chunks for place in range(len(chunk) - 1))
    return strange <= sum(map(len, chunks)) // 8


def is_complaint(text: str) -> bool:
    """Whether a text says what is wrong with a field: a sentence that begins as those do, of words and small numbers.

    >>> is_complaint("has already been taken"), is_complaint("The email field is required."), is_complaint("Zoe Ray")
    (True, True, False)
    """
    return _COMPLAINT.fullmatch(text) is not None and looks_spoken(text)
