"""Credentials and challenges: what phones write, what is read of it, and what that costs."""

import re
from urllib.parse import unquote

import pytest
import sip
from hypothesis import example, given
from hypothesis import strategies as st

from sbcauth.digest.algorithms import Algorithm
from sbcauth.digest.credentials import (
    _PARAMETER,
    MAX_CREDENTIALS,
    Credentials,
    _credentials,
    format_challenge,
    keep_layout,
    parse_credentials,
    parse_parameters,
    quote,
    scheme,
    usual_credentials,
)
from sbcauth.digest.response import ha1, response_is_right
from sbcauth.exceptions import BadCredentials

NONCE = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
BOB = (
    'Digest username="bob", realm="biloxi.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", '
    'uri="sip:bob@biloxi.com", {}, opaque="5ccc069c403ebaf9f0171e9517f40e41"'
)

_NO_COUNT = "nc is not a hexadecimal number of up to eight digits"
_TEXT = st.binary(max_size=30).map(lambda raw: raw.decode("utf-8", "surrogateescape"))


# -- what was meant --------------------------------------------------------------------


def credentials(**changes: str) -> Credentials:
    return Credentials("bob", "biloxi.com", NONCE, "sip:bob@biloxi.com", "00")._replace(**changes)


@pytest.mark.parametrize(
    ("qop", "nc", "protection", "nonce_count"),
    [
        ("", "", "", 1),
        ("auth", "0000000a", "auth", 10),
        ("AUTH", "A", "auth", 10),
        ("Auth-Int", "00000002", "auth-int", 2),
        ("auth", "", "auth", 1),
        ("auth,auth-int", "00000002", "auth", 1),
        ("undefined", "00000002", "auth", 1),
        ("auth", "ffffffff", "auth", 0xFFFFFFFF),
    ],
)
def test_qop_and_nonce_count_are_read_as_meant(
    qop: str, nc: str, protection: str, nonce_count: int
) -> None:
    given = credentials(qop=qop, nc=nc)
    assert (given.protection, given.nonce_count) == (protection, nonce_count)


def test_nonce_count_cannot_be_raised_where_the_response_does_not_cover_it() -> None:
    h_a1 = ha1("MD5", "bob", "biloxi.com", "zanzibar")
    bare = sip.digest("MD5", "bob", "biloxi.com", "zanzibar", "INVITE", "sip:bob@biloxi.com", NONCE)
    for nc in ("00000001", "00000002"):
        replayed = credentials(response=bare, qop="auth,auth-int", nc=nc, cnonce="x")
        assert response_is_right(h_a1, "INVITE", replayed)
        assert replayed.nonce_count == 1


def test_nonce_count_without_qop_is_none() -> None:
    parsed = parse_credentials(BOB.format('response="0a", nc=00000002, cnonce="x"'))
    assert (parsed.nc, parsed.cnonce, parsed.nonce_count) == ("", "", 1)


def test_qop_in_upper_case_still_covers_the_nonce_count() -> None:
    h_a1 = ha1("MD5", "bob", "biloxi.com", "zanzibar")
    bare = sip.digest("MD5", "bob", "biloxi.com", "zanzibar", "INVITE", "sip:bob@biloxi.com", NONCE)
    assert not response_is_right(h_a1, "INVITE", credentials(response=bare, qop="AUTH", nc="2"))


# -- the parser ------------------------------------------------------------------------

NAMES = ["username", "realm", "nonce", "uri", "response", "algorithm", "qop", "nc", "username*"]
_PIECES = st.sampled_from(
    [*NAMES, "=", ",", " ", '"', '""', "\\", '\\"', "\r\n ", "\t", "auth", "MD5", "0a", "é", "\0"]
)


@given(st.one_of(_TEXT, st.lists(_PIECES, max_size=40).map("".join)))
@example("Digest")
@example("Digest ")
@example('Digest username="a", username="a"')
def test_any_text_parses_or_is_bad_credentials(text: str) -> None:
    for field in (text, f"Digest {text}", BOB.format(f'response="0a", {text}')):
        try:
            parsed = parse_credentials(field)
        except BadCredentials:
            continue
        if len(str(parsed)) <= MAX_CREDENTIALS:
            assert parse_credentials(str(parsed)) == parsed


@given(values=st.lists(_TEXT, min_size=5, max_size=5), order=st.permutations(range(7)))
def test_any_order_of_parameters_means_the_same(values: list[str], order: list[int]) -> None:
    username, realm, nonce, uri, cnonce = values
    wanted = Credentials(username, realm, nonce, uri, "0a", "SHA-256", "auth", "1", cnonce)
    parameters = [
        f"username={quote(wanted.username)}",
        f"realm={quote(wanted.realm)}",
        f"nonce={quote(wanted.nonce)}",
        f"uri={quote(wanted.uri)}",
        'response="0a"',
        "algorithm=SHA-256",
        f"qop=auth,nc=1,cnonce={quote(wanted.cnonce)}",
    ]
    shuffled = [parameters[index] for index in order]
    for separator in (",", ", ", " ,\r\n\t"):
        assert parse_credentials(f"Digest {separator.join(shuffled)}") == wanted


@pytest.mark.parametrize(
    ("field", "mistake"),
    [
        (BOB.format('response="xyz"'), "response is not hexadecimal"),
        (BOB.format('response="٣٤"'), "response is not hexadecimal"),
        (BOB.format('response="0a", qop=auth, nc=000000001'), _NO_COUNT),
        (BOB.format('response="0a", qop=auth, nc=0x1'), _NO_COUNT),
        (BOB.format('response="0a", qop=auth, nc=-1'), _NO_COUNT),
        (BOB.format('response="0a", qop=auth, nc=1_1'), _NO_COUNT),
        (BOB.format('response="0a", qop=auth, nc=٣'), _NO_COUNT),
        (BOB.format('response="0a", qop=auth, nc=" 1"'), _NO_COUNT),
        (BOB.format("algorithm=MD5"), "response is missing"),
        (BOB.format('response="0a", realm="x"'), "a parameter is given twice"),
        (BOB.format('response="0a", REALM="x"'), "a parameter is given twice"),
        (BOB.format('response="0a", "'), "no parameter where one should follow response"),
        (BOB.format('response="0a", nonsense'), "no parameter where one should follow response"),
        (BOB.format('response="0a", username*=bob'), "username* is not in UTF-8"),
        (BOB.format("response=\"0a\", username*=ISO-8859-1''bob"), "username* is not in UTF-8"),
        (BOB.format('response="0a"') + " " * MAX_CREDENTIALS, "longer than 4096 characters"),
        ("", "username is missing"),
        ("Digest", "username is missing"),
    ],
)
def test_malformed_credentials_are_named(field: str, mistake: str) -> None:
    with pytest.raises(BadCredentials) as raised:
        parse_credentials(field)
    assert str(raised.value) == mistake


@pytest.mark.parametrize("escaped", ["%00abc", "%003", "%0099"])
def test_extended_username_may_begin_with_nul_and_is_nothing_but_itself(escaped: str) -> None:
    usual = BOB.format(f"response=\"0a\", username*=UTF-8''{escaped}, qop=auth, nc=00000001")
    assert parse_credentials(usual).username == unquote(escaped)


def test_extended_username_comes_before_the_plain_one_and_keeps_its_bytes() -> None:
    field = BOB.format("response=\"0a\", username*=utf-8'de'J%C3%A4s%FF")
    assert parse_credentials(field).username == "Jäs\udcff"


def test_empty_response_of_an_ims_phone_parses() -> None:
    field = 'Digest username="bob", realm="biloxi.com", nonce="", uri="sip:x", response=""'
    parsed = parse_credentials(field)
    assert (parsed.nonce, parsed.response) == ("", "")
    assert not response_is_right(ha1("MD5", "bob", "biloxi.com", "x"), "REGISTER", parsed)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Digest a=b", "digest"),
        (" dIGEST\ta=b", "digest"),
        ("Digest", "digest"),
        ("Basic Zm9v", "basic"),
        ("Digest=1", ""),
        ("", ""),
        ("\0Digest a", ""),
    ],
)
def test_scheme_is_the_first_word(text: str, name: str) -> None:
    assert scheme(text) == name


# -- the cost of the parser: time grows with the length, not with its square ---------------

_WORST = {
    "one endless word": "a",
    "words": "a ",
    "words that end in an equals sign": "a=",
    "white space": " ",
    "quotes": '"',
    "open quotes": 'a="',
    "open quotes with escapes": 'a="\\"',
    "doubled quotes": 'a=""',
    "backslashes": "\\",
    "escaped quotes": '\\"',
    "commas": ",",
    "equals signs with space": "= ",
}


@pytest.mark.parametrize("piece", _WORST.values(), ids=_WORST)
@pytest.mark.parametrize("start", ["", "a", 'a="', 'a=""', "a=", "a "])
def test_each_word_is_given_up_once(start: str, piece: str) -> None:
    """What matches is never looked at again; what does not is left behind as a whole."""
    text = (start + piece * MAX_CREDENTIALS)[:MAX_CREDENTIALS]
    given_up = [junk for *_, junk in _PARAMETER.findall(text) if junk]
    assert len(given_up) <= len(re.findall(r"[^\s,]+", text))


@pytest.mark.parametrize("name", ["Digest", "a" * (MAX_CREDENTIALS - 1), "Digest " + " " * 4000])
def test_longest_words_are_refused_at_once(name: str) -> None:
    with pytest.raises(BadCredentials):
        parse_credentials(name)


_USUAL = (
    'Digest username="1001", realm="example.com", nonce="0f", uri="sip:example.com", '
    'response="faeaf2f9", algorithm=MD5, cnonce="334f", qop=auth, nc=00000001'
)
_EDITS = st.lists(
    st.tuples(
        st.integers(0, len(_USUAL)),
        st.integers(0, 3),
        st.sampled_from(
            ['"', '""', ",", "=", " ", "\\", "\0", "a", "qop=", ', nc="1"', "MD5", "é"]
        ),
    ),
    max_size=4,
)


@given(_EDITS)
def test_what_is_read_the_short_way_is_read_the_long_way_too(
    edits: list[tuple[int, int, str]],
) -> None:
    text = _USUAL
    for place, deleted, inserted in edits:
        text = text[:place] + inserted + text[place + deleted :]
    usual = usual_credentials(text)
    if usual:
        assert usual == _credentials(parse_parameters(text))


def test_usual_spelling_is_read_the_short_way() -> None:
    assert usual_credentials(_USUAL) == parse_credentials(_USUAL)


# -- what we write ---------------------------------------------------------------------


@given(realm=_TEXT, nonce=st.from_regex(r"[\w-]{1,44}", fullmatch=True))
def test_challenge_is_read_back_by_a_phone(realm: str, nonce: str) -> None:
    value = format_challenge(realm, nonce, Algorithm.SHA_256, ("auth", "auth-int"), stale=True)
    if realm.splitlines() != [realm]:
        return  # no header field has such a realm
    (challenge,) = sip.parse_challenges(f"Proxy-Authenticate: {value}")
    assert challenge == sip.Challenge(
        "Proxy-Authenticate", realm, nonce, "SHA-256", ("auth", "auth-int"), stale=True
    )


def test_challenge_is_spelled_as_rfc_7616_has_it() -> None:
    assert format_challenge("example.com", "n", Algorithm.MD5, ()) == (
        'Digest realm="example.com", nonce="n", algorithm=MD5'
    )
    assert format_challenge('a"b', "n", Algorithm.SHA_512_256, ("auth",)) == (
        'Digest realm="a\\"b", nonce="n", algorithm=SHA-512-256, qop="auth"'
    )


def test_credentials_are_spelled_as_rfc_7616_has_it() -> None:
    text = str(credentials(qop="auth", nc="00000001", cnonce="c", opaque="o"))
    assert text == (
        f'Digest username="bob", realm="biloxi.com", nonce="{NONCE}", uri="sip:bob@biloxi.com", '
        'response="00", algorithm=MD5, qop=auth, nc=00000001, cnonce="c", opaque="o"'
    )
    assert 'algorithm="M D", qop="auth,auth-int"' in str(
        credentials(qop="auth,auth-int", algorithm="M D")
    )


def test_extended_username_may_have_an_apostrophe() -> None:
    field = BOB.format("response=\"0a\", username*=UTF-8''O'Brien").replace(' username="bob",', "")
    assert parse_credentials(field).username == "O'Brien"


def test_layout_that_is_kept_serves_for_any_count_and_for_nothing_else() -> None:
    """What stands around the digits of the count is the whole of what tells layouts apart."""
    usual = _USUAL.replace("nc=00000001", 'nc=00000001, opaque="a"')
    others = [
        usual.replace("nc=00000001", "nc=00000002"),
        usual.replace("nc=00000001,", "nc=00000001 ,"),
        usual.replace('opaque="a"', 'opaque="b"'),
        usual.replace('cnonce="334f"', 'cnonce="a, nc=1"'),
    ]
    parsed = parse_credentials(usual)
    for _ in range(2):  # the second time from what is kept
        assert [parse_credentials(each) for each in others] == [
            parsed._replace(nc="00000002"),
            parsed,
            parsed._replace(opaque="b"),
            parsed._replace(cnonce="a, nc=1"),
        ]
        assert parse_credentials(usual) == parsed


def test_layout_that_is_kept_is_not_found_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sbcauth.digest.credentials._kept", {})
    monkeypatch.setattr("sbcauth.digest.credentials._MOST_LAYOUTS", 1)
    keep_layout(_USUAL)
    keep_layout(_USUAL.replace("algorithm=MD5, ", ""))  # there is no room for it
    looked_at: list[str] = []

    def watched(around: str) -> None:
        looked_at.append(around)

    monkeypatch.setattr("sbcauth.digest.credentials.layout_of", watched)
    for count in ("00000001", "0000002a"):
        again = usual_credentials(_USUAL.replace("00000001", count).replace("1001", "1002"))
        assert again is not None
        assert (again.username, again.nc) == ("1002", count)
    assert looked_at == []
    assert usual_credentials(_USUAL.replace("algorithm=MD5, ", "")) is None
    assert len(looked_at) == 1


def test_longest_credentials_are_read_and_those_that_are_a_character_longer_are_not() -> None:
    room = MAX_CREDENTIALS - len(BOB.format('response="0a", x=""'))
    longest = BOB.format(f'response="0a", x="{"a" * room}"')
    assert len(longest) == MAX_CREDENTIALS
    assert parse_credentials(longest).opaque == "5ccc069c403ebaf9f0171e9517f40e41"
    with pytest.raises(BadCredentials, match="longer than"):
        parse_credentials(BOB.format(f'response="0a", x="{"a" * (room + 1)}"'))


def test_quote_that_is_not_closed_and_a_short_count_are_not_usual() -> None:
    assert usual_credentials(_USUAL) is not None
    assert usual_credentials(f'{_USUAL}, opaque="a') is None
    assert usual_credentials(_USUAL.replace("nc=00000001", "nc=1")) is None
