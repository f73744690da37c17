"""From the text that other formats hold to the bytes that were on the wire, and back.

HAR keeps headers, URLs and bodies as Unicode text; :class:`~polltape.exchange.Exchange` keeps bytes, in
headers as text in which one character stands for one byte.
"""

from __future__ import annotations

import codecs
import re
from typing import Final
from urllib.parse import quote

from polltape.capture.notes import UnusableError
from polltape.exchange import DEFAULT_PORTS

METHOD: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,64}", re.ASCII)
"""A request method: a token, RFC 9110 §5.6.2."""

_CHARSET: Final = re.compile(r"""charset\s*=\s*["']?([\w.:+-]{1,40})""", re.IGNORECASE | re.ASCII)

# Codecs that transform rather than encode, or whose cost is not linear: a Content-Type is untrusted.
_NO_CHARSETS: Final = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "utf-7"})


def byte_text(text: str) -> str:
    """The text with one character a byte; what does not fit a byte is taken as UTF-8.

    >>> byte_text("Zoë €")
    'ZoÃ«\\xa0â\\x82¬'.replace("\\xa0", " ")
    """
    if text.isascii():
        return text
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return utf8(text).decode("latin-1")
    return text


def utf8(text: str) -> bytes:
    """UTF-8 of any JSON text: half surrogate pairs, which JSON can hold, are kept as they are."""
    return text.encode("utf-8", "surrogatepass")


def well_formed(text: str) -> str:
    """The text without halves of surrogate pairs, as Arrow wants it."""
    return text.encode("utf-8", "replace").decode("utf-8")


def charset(content_type: str | None) -> str:
    """The codec that a Content-Type names, UTF-8 where it names none that can be used."""
    match = _CHARSET.search(content_type or "")
    try:
        name = codecs.lookup(match[1]).name if match else "utf-8"
    except (LookupError, ValueError):
        return "utf-8"
    return "utf-8" if name in _NO_CHARSETS else name


def encode_body(text: str, content_type: str | None) -> bytes:
    """The bytes of a body that a HAR holds as text, in the charset of its Content-Type, else UTF-8."""
    try:
        return text.encode(charset(content_type))
    except (UnicodeError, LookupError):
        return utf8(text)


def decode_body(content: bytes, content_type: str | None) -> str | None:
    """The text from which :func:`encode_body` makes exactly this content; None where there is none."""
    try:
        text = content.decode(charset(content_type))
    except (UnicodeError, LookupError):
        return None
    return text if encode_body(text, content_type) == content else None


_URL: Final = re.compile(  # RFC 3986 appendix B, with an authority that must be there
    r"""^(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):
        (?://(?P<authority>[^/?\#]*))?
        (?P<path>[^?\#]*)
        (?:\?(?P<query>[^\#]*))?
        (?:\#.*)?$""",
    re.VERBOSE | re.DOTALL,
)
_AUTHORITY: Final = re.compile(  # RFC 3986 §3.2; user information is not kept
    r"^(?:[^@]*@)*(?P<host>\[[0-9A-Fa-f:.]+(?:%25[^\]]*)?\]|[^:\[\]@\s]+)(?::(?P<port>\d{0,5}))?$"
)
_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
_PLAIN: Final = re.compile(r"[!-~]*")
_KEPT: Final = "".join(chr(code) for code in range(0x21, 0x7F))


def split_url(url: str) -> tuple[str, str, int, str, str | None]:
    """Scheme, host (lower case), port, path and query of an absolute http or https URL.

    A WebSocket's URL is that of the request that asked for the upgrade.  What may not stand in a URL as it
    is (blanks, characters beyond ASCII) is percent-encoded as UTF-8; all else stays as it was.

    Raises :class:`UnusableError` for other schemes (data, blob, chrome-extension) and for what is no URL.
    """
    match = _URL.match(url.strip())
    if match is None:
        raise UnusableError("its URL is not absolute")
    scheme = _SCHEMES.get(match["scheme"].lower())
    if scheme is None:
        raise UnusableError(f"its URL is {match['scheme'].lower()[:20]}:, no HTTP exchange")
    host, port = split_authority(match["authority"] or "")
    query = match["query"]
    return (
        scheme,
        host,
        DEFAULT_PORTS[scheme] if port is None else port,
        _percent(match["path"]) or "/",
        None if query is None else _percent(query),
    )


def split_authority(text: str) -> tuple[str, int | None]:
    """Host (lower case, ASCII, without brackets) and port, None where none is named.

    Raises :class:`UnusableError`.
    """
    authority = _AUTHORITY.match(text)
    if authority is None:
        raise UnusableError("its URL has no usable host")
    port = int(authority["port"]) if authority["port"] else None
    if port is not None and port > 65535:
        raise UnusableError("its URL has no usable port")
    return _ascii_host(authority["host"].strip("[]")), port


def _percent(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else quote(utf8(text), safe=_KEPT)


def _ascii_host(host: str) -> str:
    if host.isascii():
        return host.lower()
    try:
        return host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise UnusableError("its URL has no usable host") from None
