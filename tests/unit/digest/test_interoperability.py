"""Credentials as phones in the field write them: right ones get in, however they are spelled.

Each row names where the spelling was seen. What the phone hashes was read in its source where
that is public; it is not always what it sends.
"""

from typing import NamedTuple

import pytest
import sip
from conversation import NOW, PASSWORD, REALM, URI, Phone, UserInfo, accepted, phones, serve, user

from sbcauth.digest.algorithms import Algorithm
from sbcauth.policy.decision import Accept, Challenge
from sbcauth.policy.ip_groups import AuthQop

START = 'Digest username="1001", realm="{realm}", nonce="{nonce}", uri="{uri}", '
USUAL = START + 'response="{response}", algorithm=MD5, '
AUTH = 'qop=auth, nc=00000001, cnonce="0a4f113b"'


class Row(NamedTuple):
    """A spelling, where it was seen, and what goes into its response."""

    source: str
    field: str
    hashed_qop: str = "auth"
    hashed_nc: str = "00000001"
    hashed_cnonce: str = "0a4f113b"
    offered: AuthQop = AuthQop.AUTH


ROWS = [
    Row("RFC 7616, 3.4", USUAL + AUTH),
    # what should be a token is quoted, and the reverse
    Row("SIPp/sipp#191: qop", USUAL + 'qop="auth", nc=00000001, cnonce="0a4f113b"'),
    Row("kirm/sip.js#118: algorithm", USUAL.replace("=MD5", '="MD5"') + AUTH),
    Row(
        "marcoesposito1988/http_auth#20, drachtio-srf#19: qop, nc and algorithm",
        USUAL.replace("=MD5", '="MD5"') + 'qop="auth", nc="00000001", cnonce="0a4f113b"',
    ),
    Row("versatica/JsSIP#15: cnonce without quotes", USUAL + AUTH.replace('"', "")),
    Row("any value without quotes", (USUAL + AUTH).replace('"', "")),
    # case
    Row("encryption/SIP#7 (snom), linphone-android#216", USUAL.replace("MD5", "md5") + AUTH),
    Row("scheme and names in any case", (USUAL + AUTH).replace("Digest", "DIGEST")),
    Row(
        "names in upper case",
        USUAL.replace("username", "USERNAME").replace("nonce=", "Nonce=") + "QOP=auth, NC=00000001,"
        ' CNonce="0a4f113b"',
    ),
    Row("qop in upper case, hashed so", USUAL + AUTH.replace("=auth", "=AUTH"), hashed_qop="AUTH"),
    Row("qop in upper case, hashed in lower", USUAL + AUTH.replace("=auth", "=AUTH")),
    Row("nc of less than eight digits", USUAL + AUTH.replace("0000000", ""), hashed_nc="1"),
    # what is no qop
    Row(
        "Nik-Hendricks/node.js-sip#14: undefined, hashed so",
        START + 'response="{response}", qop="undefined", cnonce="0a4f113b", nc="00000001", '
        'algorithm="MD5"',
        hashed_qop="undefined",
    ),
    Row(
        "Nik-Hendricks/node.js-sip: undefined, where none is offered",
        START + 'response="{response}", qop="undefined", cnonce="0a4f113b", nc="00000001", '
        'algorithm="MD5"',
        hashed_qop="undefined",
        offered=AuthQop.NONE,
    ),
    Row("undefined, hashed as none", USUAL + AUTH.replace("=auth", "=undefined"), hashed_qop=""),
    Row(
        "cloudwebrtc/go-sip-ua#88: the whole list, hashed as none",
        'Digest realm="{realm}",algorithm=MD5,nonce="{nonce}",username="1001",uri="{uri}",'
        'response="{response}",qop="auth,auth-int",cnonce="0a4f113b",nc="00000001"',
        hashed_qop="",
        offered=AuthQop.BOTH,
    ),
    Row(
        "the whole list, hashed so",
        USUAL + AUTH.replace("=auth", '="auth,auth-int"'),
        hashed_qop="auth,auth-int",
        offered=AuthQop.BOTH,
    ),
    Row(
        "i-p-tel/sipdroid#33: qop without nc and cnonce, hashed as empty",
        USUAL + "qop=auth",
        hashed_nc="",
        hashed_cnonce="",
    ),
    Row("restsend/rsipstack#22: qop though none is offered", USUAL + AUTH, offered=AuthQop.NONE),
    Row(
        "espressif/esp-adf#756: nc and cnonce without qop",
        START + 'response="{response}", algorithm=md5, nc=00000001, cnonce="aa46b5f5a7a11098"',
        hashed_qop="",
        offered=AuthQop.NONE,
    ),
    Row("RFC 2069: no qop", USUAL, hashed_qop="", offered=AuthQop.NONE),
    Row(
        "drachtio/drachtio-server#311: auth-int is offered, the phone cannot",
        USUAL + AUTH,
        offered=AuthQop.BOTH,
    ),
    # what stands between, before and behind
    Row("versatica/JsSIP#63: doubly quoted", USUAL + 'opaque=""00000188"", ' + AUTH),
    Row("espressif/esp-adf#889: commas missing", (USUAL + AUTH).replace(", ", " ")),
    Row("commas alone", (USUAL + AUTH).replace(", ", ",")),
    Row("commas and spaces missing", (USUAL.rstrip(" ,") + " " + AUTH).replace('", ', '"')),
    Row("commas doubled, and at the end", (USUAL + AUTH).replace(", ", ", , ") + ","),
    Row("folded lines", "  " + (USUAL + AUTH).replace(", ", ",\r\n\t") + " \r\n "),
    Row("space around the equals signs", (USUAL + AUTH).replace("=", " = ")),
    Row(
        "espressif/esp-adf#889: another order",
        'Digest response="{response}", cnonce="0a4f113b", nc=00000001, qop=auth, uri="{uri}", '
        'nonce="{nonce}", realm="{realm}", algorithm=MD5, username="1001"',
    ),
    Row("parameters that we do not know", USUAL + 'auts="x,y=z", Foo=bar, ' + AUTH),
    Row("parameters left empty", USUAL + 'opaque="", auth-param="", ' + AUTH),
    Row("no algorithm", START + 'response="{response}", ' + AUTH),
    Row("quoted pairs", (USUAL + AUTH).replace('"1001"', '"\\1\\0\\01"')),
    Row("RFC 7616, 3.4: username*", (USUAL + AUTH).replace('="1001"', "*=UTF-8''%31001")),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.source)
def test_right_credentials_in_this_spelling_are_accepted(row: Row) -> None:
    phone = Phone(serve(phones(auth_qop=row.offered)))
    nonce = phone.challenge().nonce
    response = sip.digest(
        "MD5",
        "1001",
        REALM,
        PASSWORD,
        "REGISTER",
        URI,
        nonce,
        qop=row.hashed_qop,
        nc=row.hashed_nc,
        cnonce=row.hashed_cnonce,
    )
    field = row.field.format(realm=REALM, nonce=nonce, uri=URI, response=response)
    assert phone.send("REGISTER", f"Authorization: {field}") == Accept(
        "Phones", "1001", "1001", REALM, is_first=True
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.source)
def test_wrong_credentials_in_this_spelling_are_not(row: Row) -> None:
    phone = Phone(serve(phones(auth_qop=row.offered)))
    nonce = phone.challenge().nonce
    field = row.field.format(realm=REALM, nonce=nonce, uri=URI, response="0a" * 16)
    assert isinstance(phone.send("REGISTER", f"Authorization: {field}"), Challenge)


def test_response_in_upper_case_is_accepted(phone: Phone) -> None:
    """Flexisip's changelog."""
    before, response, after = phone.field(phone.challenge()).partition('response="')
    field = before + response + after[:32].upper() + after[32:]
    assert accepted(phone.send("REGISTER", field))


@pytest.mark.parametrize(
    "realm", ["Acme, Inc.", 'say "realm"', "back\\slash", "a=b, nonce=c", "Jäsøn", "{x}", " "]
)
def test_realm_with_any_text_in_it_is_ours(realm: str) -> None:
    """tayler6000/pyVoIP#66, and whatever else an administrator may write."""
    phone = Phone(serve(phones(realm=realm), users=UserInfo(user(realm=realm))))
    assert accepted(phone.register())


def test_two_accounts_on_one_phone_send_several_authorization_fields(phone: Phone) -> None:
    """kamailio/kamailio#548: the same user name, different realms; signalwire/freeswitch#1."""
    challenge = phone.challenge()
    other = phone.field(challenge._replace(realm="example.net"), password="other")
    ours = phone.field(challenge)
    assert accepted(phone.send("REGISTER", other, ours))
    assert accepted(phone.send("REGISTER", phone.field(challenge, nc=2), other))


@pytest.mark.parametrize(
    "username", ["1001@example.com", "1001@other.example.net", 'o"neil', "DOM\\bob", "Jäsøn", "a b"]
)
def test_username_may_be_any_text(username: str) -> None:
    """OpenSIPS/opensips#164 and #2356: user@domain, and the realm another."""
    users = UserInfo(user(username, local_user="1001"))
    assert accepted(Phone(serve(users=users), username, local_user="1001").register())


@pytest.mark.parametrize("written", ["%31001", "%31%30%30%31", "1001"])
def test_user_with_escaped_characters_is_the_same_user(phone: Phone, written: str) -> None:
    """Flexisip's changelog; RFC 3261, 19.1.4."""
    assert phone.register(to_user=written) == Accept("Phones", "1001", "1001", REALM, is_first=True)
    challenge = phone.challenge("INVITE")
    assert accepted(phone.answer(challenge, "INVITE", from_user=written))


def test_digest_uri_with_another_port_than_the_request_uri_is_accepted(phone: Phone) -> None:
    """miconda/sipexer#1."""
    assert accepted(phone.register(uri="sip:example.com:5060"))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_phone_that_reads_only_the_first_challenge_registers(order: tuple[int, int]) -> None:
    """pjsip/pjproject#2712, sipsorcery#525 and others: the order is the administrator's."""
    algorithms = [Algorithm.MD5, Algorithm.SHA_256]
    phone = Phone(serve(phones(auth_algorithms=tuple(algorithms[index] for index in order))))
    assert accepted(phone.answer(phone.challenges()[0]))


def test_phone_that_answers_all_challenges_at_once_registers() -> None:
    """pjsip."""
    phone = Phone(serve(phones(auth_algorithms=tuple(Algorithm))))
    assert accepted(phone.send("REGISTER", *map(phone.field, phone.challenges())))


def test_phone_that_never_counts_registers_again_and_again(phone: Phone) -> None:
    """usnistgov/jsip#181: it is challenged again each time, and never refused."""
    challenge = phone.challenge()
    for _ in range(10):
        assert accepted(phone.answer(challenge))
        again = phone.answer(challenge)
        assert isinstance(again, Challenge)
        (challenge,) = sip.parse_challenges("\n".join(again.headers))
        assert challenge.stale


def test_phone_that_keeps_its_nonce_for_ever_registers_again_and_again(phone: Phone) -> None:
    """baresip/baresip#717: stale=true keeps it from asking the person for a password."""
    challenge = phone.challenge()
    for hour in range(1, 5):
        again = phone.answer(challenge, nc=hour, now=NOW + 3600 * hour)
        assert isinstance(again, Challenge)
        (challenge,) = sip.parse_challenges("\n".join(again.headers))
        assert challenge.stale
        assert accepted(phone.answer(challenge, now=NOW + 3600 * hour))
