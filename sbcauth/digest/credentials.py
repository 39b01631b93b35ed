"""Challenges and credentials, as header fields have them: RFC 7616 §3.3 and §3.4.

Credentials come from phones of every age, so the parser takes what is legal and what is
known to be harmless: any order and spacing, missing commas, quotes where tokens belong
and the reverse. A spelling never changes what is hashed: values are hashed as they were
sent, once their quoting is taken off.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import NamedTuple
from urllib.parse import unquote

from sbcauth.exceptions import BadCredentials

MAX_CREDENTIALS = 4096
"""The longest credentials that are looked at, in characters."""
MOST_CREDENTIALS = 8192
"""How many characters of credentials are looked at in one request."""


class Credentials(NamedTuple):
    """The digest-response of an Authorization or Proxy-Authorization header field.

    Quoting is taken off; nothing else is changed, but that `algorithm` is in upper case
    and an absent one is MD5 (RFC 7616, 3.4). `qop`, `nc` and `cnonce` are empty when left
    out.
    """

    username: str
    realm: str
    nonce: str
    uri: str
    response: str
    algorithm: str = "MD5"
    qop: str = ""
    nc: str = ""
    cnonce: str = ""
    opaque: str = ""

    @property
    def qop_is_garbled(self) -> bool:
        """Tell whether the qop is none: the whole list that was offered, or `undefined`."""
        return "," in self.qop or self.qop == "undefined"

    @property
    def protection(self) -> str:
        """Return the quality of protection that was meant: `auth`, `auth-int` or nothing."""
        if self.qop in USUAL_QOP:
            return self.qop
        return "auth" if self.qop_is_garbled else self.qop.lower()

    @property
    def nonce_count(self) -> int:
        """Return the nonce count as a number; a nonce without one has a single use.

        So has one with a garbled qop, since the response may not cover the count.
        """
        return int(self.nc, 16) if self.nc and not self.qop_is_garbled else 1

    def __str__(self) -> str:
        """Return the field value, spelled as RFC 7616 §3.4 has it."""
        fields = [
            f"username={quote(self.username)}",
            f"realm={quote(self.realm)}",
            f"nonce={quote(self.nonce)}",
            f"uri={quote(self.uri)}",
            f'response="{self.response}"',
            f"algorithm={_token(self.algorithm)}",
        ]
        if self.qop:
            fields.append(f"qop={_token(self.qop)}")
        if self.nc:
            fields.append(f"nc={self.nc}")
        if self.cnonce:
            fields.append(f"cnonce={quote(self.cnonce)}")
        if self.opaque:
            fields.append(f"opaque={quote(self.opaque)}")
        return "Digest " + ", ".join(fields)


_SCHEME = re.compile(r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:\s+|$)")
_PARAMETER = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*=\s*"
    r'(?:""([^\s",]+)""'  # doubly quoted, as some phones return an opaque value
    r'|"([^"\\]*(?:\\.[^"\\]*)*)"'  # quoted-string
    r'|([^\s,"]+))'  # token, or what should have been quoted
    r"|([^\s,]+)",  # anything else is an error; taken whole, so that time stays linear
    re.DOTALL,
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
USUAL_QOP = ("auth", "auth-int", "")
"""What phones should write as qop; nothing is that of phones that know none."""
_USUAL_DIGITS = "0123456789abcdef"
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]*").fullmatch
_NONCE_COUNT = re.compile(r"[0-9a-fA-F]{,8}").fullmatch


def quote(value: str) -> str:
    r"""Return `value` as a quoted-string, with `\` and `"` escaped (RFC 3261, 25.1)."""
    if '"' in value or "\\" in value:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def _unescaped(quoted: str) -> str:
    """Return what stands in a quoted-string, without the backslashes that escape.

    Two of them are one. In each run of them the first escapes, so that they pair up from there.
    """
    return "\\".join(part.replace("\\", "") for part in quoted.split("\\\\"))


def _token(value: str) -> str:
    """Return `value` as it is where it is a token, and quoted where it is not."""
    return value if _TOKEN.fullmatch(value) else quote(value)


def format_challenge(
    realm: str, nonce: str, algorithm: str, qop: Sequence[str], *, stale: bool = False
) -> str:
    """Return the field value of a challenge (RFC 7616, 3.3); `qop` lists what is offered."""
    value = f"Digest realm={quote(realm)}, nonce={quote(nonce)}, algorithm={algorithm}"
    if qop:
        value += f', qop="{",".join(qop)}"'
    return f"{value}, stale=true" if stale else value


def scheme(text: str) -> str:
    """Return the authentication scheme that a field value begins with, in lower case."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else ""


def parse_parameters(text: str) -> dict[str, str]:
    """Return the auth-params that follow the scheme, names in lower case, values unquoted.

    Raises BadCredentials where something else stands between them, where one is given
    twice, and where the text is longer than MAX_CREDENTIALS.
    """
    if len(text) > MAX_CREDENTIALS:
        raise BadCredentials(f"longer than {MAX_CREDENTIALS} characters")
    start = _SCHEME.match(text)
    found = _PARAMETER.findall(text, start.end() if start else 0)
    parameters: dict[str, str] = {}
    last = "the scheme"
    for name, doubly_quoted, quoted, token, junk in found:
        if junk:  # it is not shown: it may be a piece of the response
            raise BadCredentials(f"no parameter where one should follow {last}")
        if "\\" in quoted:
            quoted = _unescaped(quoted)
        last = name.lower()
        parameters[last] = quoted or token or doubly_quoted
    if len(parameters) != len(found):
        raise BadCredentials("a parameter is given twice")
    return parameters


def parse_credentials(text: str) -> Credentials:
    """Return the Digest credentials in the field value `text` (RFC 7616, 3.4).

    Raises BadCredentials where they cannot be read.
    """
    usual = usual_credentials(text)
    if usual:
        return usual
    credentials = _credentials(parse_parameters(text))
    # It may be empty: an IMS phone's first REGISTER has it so (3GPP TS 24.229, 5.1.1.2.2).
    if not _HEXADECIMAL(credentials.response):
        raise BadCredentials("response is not hexadecimal")
    if not _NONCE_COUNT(credentials.nc):
        raise BadCredentials("nc is not a hexadecimal number of up to eight digits")
    return credentials


# All phones of a model write the same but for what stands in quotes, and for the nonce count.
# Where the values stand is found out once for each way of writing, which saves 6 µs of 9.

Layout = tuple[Callable[[list[str]], Sequence[str]], list[str]]
"""How to pick the values of Credentials from the pieces of a text, followed by some tokens and the
nonce count."""

_MOST_LAYOUTS = 1000
_kept: dict[str, Layout] = {}
"""The layouts of phones that have had a right answer: strangers cannot displace them."""
_NC = "nc="
_ANY_COUNT = "\1"


def usual_credentials(text: str) -> Credentials | None:
    """Return credentials that are written as nearly all are, or None for any others."""
    if len(text) > MAX_CREDENTIALS or "\\" in text:
        return None
    pieces = text.split('"')
    around = '"'.join(pieces[::2])
    start = around.find(_NC) + 3
    end = start + 8
    nc, around = around[start:end], around[:start] + around[end:]
    layout = _kept.get(around) or layout_of(around)
    if layout is None or len(pieces) % 2 == 0 or len(nc) < 8 or nc.strip(_USUAL_DIGITS):
        return None  # there is more to it, or a quote is not closed
    pick, tokens = layout
    pieces += tokens
    pieces.append(nc)
    usual = tuple.__new__(Credentials, pick(pieces))
    return None if usual.response.strip(_USUAL_DIGITS) or not usual.qop else usual


def keep_layout(text: str) -> None:
    """Keep the layout of credentials that were right, as long as there is room."""
    around = '"'.join(text.split('"')[::2])
    start = around.find(_NC) + 3
    around = around[:start] + around[start + 8 :]
    if around not in _kept and len(_kept) < _MOST_LAYOUTS and (layout := layout_of(around)):
        _kept[around] = layout


@lru_cache(maxsize=1000)
def layout_of(around: str) -> Layout | None:
    """Return how to pick credentials from a text with the parts `around` its quoted ones.

    The digits of the nonce count are left out. None where there is more to it, or a mistake.
    """
    outside = around.replace(_NC, _NC + _ANY_COUNT, 1).split('"')
    if len(outside) > 16 or len(around) > 500 or scheme(outside[0]) != "digest":
        return None
    if {"\0", _ANY_COUNT, "*"} & set(around):  # an extended value may stand for any character
        return None
    count = 2 * len(outside) - 1
    marked = "".join(f'{part}"\0{2 * place + 1}"' for place, part in enumerate(outside))
    try:
        credentials = _credentials(parse_parameters(marked.removesuffix(f'"\0{count}"')))
    except BadCredentials:
        return None
    if credentials.nc != _ANY_COUNT:
        return None
    tokens = [each for each in credentials if not each.startswith(("\0", _ANY_COUNT))]
    if credentials.algorithm not in tokens:
        return None  # quoted, it may be in lower case
    values = [*tokens, _ANY_COUNT]
    places = (
        int(value[1:]) if value.startswith("\0") else count + values.index(value)
        for value in credentials
    )
    return itemgetter(*places), tokens


def _credentials(parameters: dict[str, str]) -> Credentials:
    if "username*" in parameters:
        parameters["username"] = _extended_value(parameters["username*"])
    get = parameters.get
    qop = get("qop", "")
    try:
        return Credentials(
            parameters["username"],
            parameters["realm"],
            parameters["nonce"],
            parameters["uri"],
            parameters["response"].lower(),
            get("algorithm", "MD5").upper(),
            qop,
            get("nc", "") if qop else "",
            get("cnonce", "") if qop else "",
            get("opaque", ""),
        )
    except KeyError as missing:
        raise BadCredentials(f"{missing.args[0]} is missing") from None


def _extended_value(text: str) -> str:
    """Return what `UTF-8''percent-encoded` stands for (RFC 7616, 3.4; RFC 5987)."""
    charset, _, rest = text.partition("'")
    if charset.upper() != "UTF-8":
        raise BadCredentials("username* is not in UTF-8")
    return unquote(rest.partition("'")[2], errors="surrogateescape")
