"""What takes the place of a value that goes: fixed stand-ins, and shapes of personal data.

A stand-in for a dropped value is the same for all: :data:`DROPPED`, 0, 0.0.  A shape is made of the value
under the key, so that equal values stay equal (but for case), and looks like what it stands for:

=========  ==========================================================================
kind       stand-in
=========  ==========================================================================
email      ``<eight letters>@redacted.example``
phone      its punctuation and number of digits
ip         an address of 240.0.0.0/4 (reserved, RFC 1112) or 2001:db8::/32 (RFC 3849)
date       a valid day in the same notation
agent      product names that are well known stay, other letters and digits change
latitude,  a number in range with as many decimals
longitude
text       letters by letters of the same case, digits by digits, the rest stays
=========  ==========================================================================
"""

from __future__ import annotations

import ipaddress
import re
import string
from collections.abc import Callable
from typing import Final

from polltape.capture.pan import has_pan
from polltape.capture.pseudonyms import Pseudonyms

DROPPED: Final = "polltape-dropped"
"""The text in the place of every dropped text: safe in URLs, headers, cookies, JSON and GraphQL."""

MAIL_DOMAIN: Final = "redacted.example"

KINDS: Final = {
    **dict.fromkeys(("email", "contactemail", "customeremail"), "email"),
    **dict.fromkeys(("phone", "phonenumber", "mobilephone", "mobilenumber", "faxnumber", "telephone"), "phone"),
    **dict.fromkeys(("birthday", "dateofbirth", "dob", "birthdate"), "date"),
    **dict.fromkeys(("ipaddress", "browserip", "clientip", "remoteip", "remoteaddr", "remoteaddress"), "ip"),
    **dict.fromkeys(("ip", "userip", "customerip", "sourceip", "realip"), "ip"),
    **dict.fromkeys(("xforwardedfor", "xrealip", "forwarded", "cfconnectingip", "trueclientip"), "ip"),
    **dict.fromkeys(("xclientip", "xclusterclientip", "fastlyclientip", "xoriginalforwardedfor"), "ip"),
    "xenvoyexternaladdress": "ip",
    "useragent": "agent",
    "latitude": "latitude",
    "longitude": "longitude",
}
"""Normalised name → kind of its shape; every other name is text (or what its value is seen to be)."""

EMAIL: Final = re.compile(r"[^\s@<>\",;]+@[^\s@<>\"',;]+")
_IP: Final = re.compile(
    r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)"
    r"|(?<![\w:.])(?=[0-9A-Fa-f]*:[0-9A-Fa-f]*:)[0-9A-Fa-f:]{2,45}(?:\.\d{1,3}){0,3}(?![\w:])"
)
_FORWARDED_NAME: Final = re.compile(r'(?i)(\b(?:for|by)=)("?)([^\s;,"]+)')
_DECIMAL: Final = re.compile(r"([-+]?)(\d+)(?:\.(\d+))?", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9][0-9.,]*")
_DIGIT_RUN: Final = re.compile(r"\d+")
_WORD: Final = re.compile(r"[^\W\d_]+")
_PRODUCT_NAMES: Final = (
    "mozilla applewebkit khtml like gecko chrome safari firefox version mobile edg opr windows macintosh linux "
    "android iphone ipad intel mac os cpu nt win x64 x86 compatible python requests urllib urllib3 httpx aiohttp "
    "httpcore java okhttp apache httpclient go http client node fetch undici axios got ky curl wget libcurl "
    "postmanruntime insomnia ruby faraday rest guzzlehttp php dotnet shopify shopifyapi api bot googlebot "
    "playwright puppeteer selenium headlesschrome electron dart cfnetwork darwin mitmproxy polltape"
)
_PRODUCTS: Final = frozenset(_PRODUCT_NAMES.split())


def drop_text(value: str) -> str:
    """The stand-in of a dropped text; an empty one stays, as it tells nothing."""
    return DROPPED if value else value


class Shapes:
    """Makes stand-ins of the same shape under one key."""

    def __init__(self, pseudonyms: Pseudonyms) -> None:
        self._keyed = pseudonyms
        self._cache: dict[tuple[str, str], str] = {}
        self._makers: dict[str, Callable[[str, str], str]] = {
            "email": self._email,
            "phone": self._digits,
            "ip": self._addresses,
            "date": self._date,
            "agent": self._agent,
            "latitude": self._degrees,
            "longitude": self._degrees,
            "text": self._text,
        }

    def text(self, kind: str, value: str) -> str:
        """The stand-in of a text; text without letters and digits stays."""
        key = (kind, value)
        made = self._cache.get(key)
        if made is None:
            if len(self._cache) >= 4096:
                self._cache.clear()
            made = self._cache[key] = self._make(kind, value)
        return made

    def number(self, kind: str, spelling: str) -> str:
        """The stand-in of a JSON number, by its spelling: same sign, digits and decimals."""
        match = _DECIMAL.fullmatch(spelling)
        if match is None or len(spelling) > 30:
            return "0.0"  # an exponent: no personal number is written so
        made = self._degrees(spelling, "") if kind in ("latitude", "longitude") else self._digits(spelling, "")
        return "0" if has_pan(made) else made

    def _make(self, kind: str, value: str) -> str:
        if not any(map(str.isalnum, value)) and not is_address(value):
            return value
        made = value
        maker = self._makers[self._seen(kind, value)]
        for attempt in range(32):
            made = maker(value, str(attempt))
            if made != value and not has_pan(made):
                return made
        if made == value and not _FORWARDED_NAME.search(value):  # not what its name says, or without letters and digits
            made = self._text(value, "")
        # a list of numbers always holds something like a card number
        return made if not has_pan(made) else DROPPED

    def _seen(self, kind: str, value: str) -> str:
        """The kind by the value, where the name does not say it or the value is not what the name says."""
        if kind == "text" and "@" in value and EMAIL.fullmatch(value):
            return "email"
        if kind == "text" and is_address(value):
            return "ip"
        if kind == "email" and not EMAIL.fullmatch(value):
            return "text"
        if kind == "ip" and not (_IP.search(value) or _FORWARDED_NAME.search(value)):
            return "text"
        if kind in ("latitude", "longitude") and not _DECIMAL.fullmatch(value):
            return "text"
        return kind

    def _email(self, value: str, salt: str) -> str:
        stream = self._keyed.stream(f"email{salt}", value.casefold(), 8)
        return f"{stream.translate(_DRAWN['a']).decode()}@{MAIL_DOMAIN}"

    def _digits(self, value: str, salt: str) -> str:
        """Digits by digits (a first one other than 0 stays so); letters, if any, as in text."""
        return self._letters(f"digits{salt}", "".join(filter(str.isdecimal, value)) or value, value)

    def _text(self, value: str, salt: str) -> str:
        return self._letters(f"shape{salt}", value.casefold(), value)

    def _letters(self, purpose: str, canonical: str, value: str) -> str:
        stream = self._keyed.stream(purpose, canonical, len(value))
        return _ascii_letters(value, stream) if value.isascii() else _any_letters(value, stream)

    def _addresses(self, value: str, salt: str) -> str:
        made = _IP.sub(lambda match: self.address(match.group(), salt), value)
        return _FORWARDED_NAME.sub(self._forwarded, made)

    def _forwarded(self, match: re.Match[str]) -> str:
        """``for=_hidden`` and the like (RFC 7239 §6.3) are names of someone, too."""
        if _IP.search(match[3]) or match[3].lower() == "unknown":
            return match[0]
        return match[1] + match[2] + self._text(match[3], "")

    def address(self, value: str, salt: str = "") -> str:
        """The stand-in of an IP address of either version, without port; other text stays."""
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return value
        number = int(self._keyed.digest(f"ip{salt}", address.compressed, size=12), 16)
        if address.version == 4:
            return str(ipaddress.IPv4Address(0xF0000000 | number % (2**28 - 1)))
        return str(ipaddress.IPv6Address((0x20010DB8 << 96) | number))

    def _date(self, value: str, salt: str) -> str:
        """Years 1950 to 1999, everything else 01 to 12: a valid date in whatever order."""
        stream = iter(list(self._keyed.stream(f"date{salt}", value, 64)) * (1 + len(value) // 32))

        def replace(match: re.Match[str]) -> str:
            digits = match.group()
            if len(digits) == 8:
                return f"{1950 + next(stream) % 50}{1 + next(stream) % 12:02}{1 + next(stream) % 12:02}"
            if len(digits) == 4:
                return str(1950 + next(stream) % 50)
            if len(digits) > 2:
                return "1" * len(digits)
            return f"{1 + next(stream) % 12:02}" if len(digits) == 2 else str(1 + next(stream) % 9)

        if not _DIGIT_RUN.search(value):
            return self._text(value, salt)
        return _WORD.sub(lambda m: "Jan" if len(m.group()) > 1 else m.group(), _DIGIT_RUN.sub(replace, value))

    def _agent(self, value: str, salt: str) -> str:
        shaped = self._text(value, salt)

        def keep(match: re.Match[str]) -> str:
            known = match.group().lower() in _PRODUCTS
            return match.group() if known else shaped[match.start() : match.end()]

        made = list(shaped)
        for match in re.finditer(r"[A-Za-z][A-Za-z0-9]*", value):
            made[match.start() : match.end()] = keep(match)
        return "".join(made)

    def _degrees(self, value: str, salt: str) -> str:
        """In ±89: in range as latitude and as longitude."""
        match = _DECIMAL.fullmatch(value)
        if match is None:
            return self._text(value, salt)
        number = int(self._keyed.digest(f"degrees{salt}", value.lstrip("+")), 16)
        whole = f"{match[1]}{1 + number % 88}"
        if match[3] is None:
            return whole
        decimals = self._keyed.stream(f"decimals{salt}", value.lstrip("+"), len(match[3]))
        return f"{whole}." + "".join(str(byte % 9 + 1) for byte in decimals)


def _any_letters(value: str, stream: bytes) -> str:
    """A character of the same kind for each; the first digit of a number that is not 0 stays so."""
    made: list[str] = []
    number = False
    for char, byte in zip(value, stream, strict=False):
        made.append(_letter(char, byte, number))
        number = char.isdigit() or (number and char in ".,")
    return "".join(made)


def _ascii_letters(value: str, stream: bytes) -> str:
    """The same of ASCII text, by tables."""
    made = bytearray([_ROWS[char][byte] for char, byte in zip(value.encode(), stream, strict=False)])
    for number in () if value.isalpha() else _NUMBER.finditer(value):
        place = number.start()
        if value[place] != "0":
            made[place] = _FIRST_DIGITS[stream[place]]
    return made.decode()


def is_address(value: str) -> bool:
    """Whether the text is an IP address of either version."""
    if not 1 < len(value) < 46 or not (value.count(".") == 3 or value.count(":") > 1):
        return False
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


def _letter(char: str, byte: int, number: bool) -> str:
    """A character of the same kind; the first digit of a number that is not 0 stays so."""
    if char.isdigit():
        return str(1 + byte % 9 if char != "0" and not number else byte % 10)
    if "a" <= char <= "z":
        return string.ascii_lowercase[byte % 26]
    if "A" <= char <= "Z":
        return string.ascii_uppercase[byte % 26]
    if char < "\x80":
        return char
    if char.isspace():
        return " "
    return string.ascii_uppercase[byte % 26] if char.isupper() else string.ascii_lowercase[byte % 26]


def _drawn(letter: str, number: bool) -> bytes:
    """What each byte of a stream makes of a letter."""
    return bytes(ord(_letter(letter, byte, number)) for byte in range(256))


_DRAWN: Final = {letter: _drawn(letter, True) for letter in "0aA"}
_ROWS: Final = [
    _DRAWN["0" if letter.isdigit() else "a" if letter.islower() else "A"] if letter.isalnum() else _drawn(letter, True)
    for letter in map(chr, range(128))
]
"""For each ASCII character what each byte makes of it, inside a number; letters of a kind share one table."""

_FIRST_DIGITS: Final = _drawn("1", False)
