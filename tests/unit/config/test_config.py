"""sbcauth.yaml: what it may say, and what is said of every mistake in it."""

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from repository import REPOSITORY

from sbcauth.config.load import Config, load
from sbcauth.config.schema import FileSettings, IPGroupSettings, LogDetail, SharedSettings
from sbcauth.config.show import effective, json_schema
from sbcauth.digest.algorithms import Algorithm
from sbcauth.exceptions import ConfigError
from sbcauth.http.settings import HttpSettings
from sbcauth.policy.attempt_limit import AttemptLimit
from sbcauth.policy.ip_groups import (
    AtLeast,
    AuthenticationMode,
    AuthQop,
    ChallengeMethod,
    CheckDigestURI,
    ClassificationRule,
    Emergency,
    FromScreening,
    IPGroup,
    IPGroupType,
    ProxyAddress,
    RuleAction,
    ServerAuthMode,
    UnclassifiedRequests,
    UnlistedWithoutWord,
    UserAgentRule,
    UserSecurityMode,
)
from sbcauth.policy.user_agents import KNOWN
from sbcauth.radius.attributes import RadiusAttributes
from sbcauth.radius.settings import RadiusServer, RadiusSettings
from sbcauth.users.database_url import sqlite_path

SAMPLE = REPOSITORY / "sbcauth.yaml"
SECRET = "hunter2-is-secret"
RADIUS = "radius: {servers: [{address: 192.0.2.9, secret: s}]}"

Load = Callable[..., Config]


def phones(*lines: str, top: str = "realm: example.com") -> str:
    """Return a file of one IP Group; the first of `lines` is line 6, and begins in column 5."""
    head = f"{top}\nip_groups:\n  - name: Phones\n    type: user\n"
    rule = "    classification: [{address: 10.0.0.0/8}]\n"
    return head + rule + "".join(f"    {line}\n" for line in lines)


def trunk(*lines: str) -> str:
    """Return another IP Group, to follow; the first of `lines` is its fourth."""
    head = "  - name: Carrier\n    type: server\n    proxy_set: [sip:192.0.2.1]\n"
    return head + "".join(f"    {line}\n" for line in lines)


@pytest.fixture
def loaded(tmp_path: Path) -> Load:
    def load_text(text: str, environment: Mapping[str, str] | None = None) -> Config:
        file = tmp_path / "sbcauth.yaml"
        file.write_text(text, "utf-8")
        return load(file, environment or {})

    return load_text


@pytest.fixture
def mistakes(loaded: Load) -> Callable[..., list[str]]:
    """Return what is said of a text, each mistake without the name of the file."""

    def mistakes_of(text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            loaded(text)
        assert str(caught.value) == "\n".join(map(str, caught.value.mistakes))
        return [str(each).partition("sbcauth.yaml:")[2] for each in caught.value.mistakes]

    return mistakes_of


def warnings(config: Config) -> list[str]:
    return [str(each).partition("sbcauth.yaml:")[2] for each in config.warnings]


# The sample


def test_sample_serves_phones_of_this_machine_and_challenges_what_outsiders_could_abuse() -> None:
    config = load(SAMPLE, {})
    (group,) = config.ip_groups
    assert config.warnings == ()
    assert (group.name, group.realm) == ("Phones", "example.com")
    assert group.classification == (ClassificationRule(ip_network("127.0.0.0/8")),)
    assert group.authentication_mode is AuthenticationMode.SBC_AS_SERVER
    assert group.methods >= {"REGISTER", "INVITE", "SUBSCRIBE", "MESSAGE", "PUBLISH", "REFER"}


def test_sample_with_its_trunk_uncommented_routes_calls_there(loaded: Load, tmp_path: Path) -> None:
    (tmp_path / "carrier.secret").write_text("secret\n")
    text = re.sub(r"# (- name:|  \w+:|route_to:)", r"\1", SAMPLE.read_text("utf-8"))
    config = loaded(text)
    group, carrier = config.ip_groups
    assert config.warnings == ()
    assert (group.route_to, carrier.name) == ("Carrier", "Carrier")
    assert (carrier.username_as_server, carrier.password_as_server) == ("carrier", "secret")


# Values


def test_log_goes_where_it_is_sent(loaded: Load, tmp_path: Path) -> None:
    config = loaded(phones(top="realm: example.com\nlog: ALL\nlog_to: log/outcomes.log"))
    assert (config.log, config.log_to) == (LogDetail.ALL, f"{tmp_path}/log/outcomes.log")
    assert loaded(phones(top="realm: example.com\nlog_to: Syslog")).log_to == "syslog"


def test_file_that_says_nothing_more_has_the_defaults(loaded: Load, tmp_path: Path) -> None:
    assert loaded(phones()) == Config(
        file=tmp_path / "sbcauth.yaml",
        database=f"sqlite:///{tmp_path}/sbcauth.db",
        users_file=tmp_path / "sbcauth.db",
        ha1_key_file=tmp_path / "sbcauth.seal",
        nonce_key_file=tmp_path / "sbcauth.keys",
        cluster=None,
        old_password_memory=604800,
        unclassified_requests=UnclassifiedRequests.REJECT,
        websocket_origins=(),
        unproved_connection_lifetime=30,
        log=LogDetail.CHANGES,
        log_to="auto",
        ip_groups=(
            IPGroup(
                name="Phones",
                type=IPGroupType.USER,
                realm="example.com",
                authentication_mode=AuthenticationMode.USER_AUTHENTICATES,
                classification=(ClassificationRule(ip_network("10.0.0.0/8")),),
                server_auth_mode=ServerAuthMode.LOCAL,
                auth_nonce_duration=300,
                auth_challenge_method=ChallengeMethod.WWW,
                auth_qop=AuthQop.AUTH,
                auth_algorithms=(Algorithm.MD5,),
                user_agents=KNOWN,
                at_least=AtLeast(Algorithm.MD5, AuthQop.AUTH),
                attempt_limit=AttemptLimit(),
                check_digest_uri=CheckDigestURI.LENIENT,
                reject_invalid_nonce=False,
                external_server=None,
            ),
        ),
        warnings=(),
    )


SHARED: dict[str, tuple[str, str, Callable[[IPGroup], Any], Any, Any]] = {
    "realm": ("a.example", "b.example", lambda g: g.realm, "a.example", "b.example"),
    "auth_nonce_duration": ("30", "600", lambda g: g.auth_nonce_duration, 30, 600),
    "auth_challenge_method": (
        *("407", "auto", lambda g: g.auth_challenge_method),
        *(ChallengeMethod.PROXY, ChallengeMethod.AUTO),
    ),
    "auth_qop": ("both", "none", lambda g: g.auth_qop, AuthQop.BOTH, AuthQop.NONE),
    "auth_algorithms": (
        *("[SHA-256, MD5]", "[SHA-512-256]", lambda g: g.auth_algorithms),
        *((Algorithm.SHA_256, Algorithm.MD5), (Algorithm.SHA_512_256,)),
    ),
    "user_agents": (
        "[]",
        "[{pattern: Door *, auth_algorithms: MD5, auth_qop: 2}, known]",
        lambda g: g.user_agents,
        (),
        (UserAgentRule("Door *", (Algorithm.MD5,), AuthQop.BOTH), *KNOWN),
    ),
    "at_least": (
        *("{qop: none}", "{algorithm: md5}", lambda g: g.at_least),
        AtLeast(Algorithm.MD5, AuthQop.NONE),
        AtLeast(Algorithm.MD5, AuthQop.NONE),
    ),
    "max_auth_attempts": ("1", "100", lambda g: g.attempt_limit.max_auth_attempts, 1, 100),
    "lockout_duration": ("1", "86400", lambda g: g.attempt_limit.lockout_duration, 1, 86400),
    "max_lockout_duration": (
        *("1", "86400", lambda g: g.attempt_limit.max_lockout_duration),
        *(1, 86400),
    ),
    "max_failures_per_source": (
        *("0", "10000", lambda g: g.attempt_limit.max_failures_per_source),
        *(0, 10000),
    ),
    "max_failures_per_user": (
        *("0", "10000", lambda g: g.attempt_limit.max_failures_per_user),
        *(0, 10000),
    ),
    "trust_duration": (
        *("60", "720h", lambda g: g.attempt_limit.trust_duration),
        *(60, 2592000),
    ),
    "trusted_sources": (
        *("192.0.2.7", "['2001:db8::/64']", lambda g: g.attempt_limit.trusted_sources),
        *((ip_network("192.0.2.7"),), (ip_network("2001:db8::/64"),)),
    ),
    "attempt_window": ("1", "3600", lambda g: g.attempt_limit.attempt_window, 1, 3600),
    "server_auth_mode": (
        *("radius", "local", lambda g: g.server_auth_mode),
        *(ServerAuthMode.RADIUS, ServerAuthMode.LOCAL),
    ),
    "radius": (
        "{servers: [{address: 192.0.2.9, secret: s}]}",
        "{servers: [{address: '2001:db8::9', port: 1645, secret: t}], attributes: rfc5090, "
        "timeout: 500ms, tries: 3, dead_time: 1m}",
        lambda g: g.external_server,
        RadiusSettings(
            (RadiusServer("192.0.2.9", 1812, "s"),), RadiusAttributes.DRAFT_STERMAN, 1.0, 2, 30
        ),
        RadiusSettings(
            (RadiusServer("2001:db8::9", 1645, "t"),), RadiusAttributes.RFC5090, 0.5, 3, 60
        ),
    ),
    "http": (
        "{urls: https://a.example, secret: s}",
        "{urls: ['http://127.0.0.1:80/x'], secret: t, timeout: 500ms, tries: 3, dead_time: 1m}",
        lambda g: g.external_server,
        HttpSettings(("https://a.example",), "s"),
        HttpSettings(("http://127.0.0.1:80/x",), "t", 0.5, 3, 60),
    ),
    "check_digest_uri": ("strict", "lenient", lambda g: g.check_digest_uri, "strict", "lenient"),
    "reject_invalid_nonce": ("true", "false", lambda g: g.reject_invalid_nonce, True, False),
    "user_security_mode": (
        *("accept-all", "1", lambda g: g.user_security_mode),
        *(UserSecurityMode.ACCEPT_ALL, UserSecurityMode.ACCEPT_REGISTERED_USERS),
    ),
    "unlisted_without_word": (
        *("challenge", "reject", lambda g: g.unlisted_without_word),
        *(UnlistedWithoutWord.CHALLENGE, UnlistedWithoutWord.REJECT),
    ),
    "from_screening": (
        *("asserted-only", "off", lambda g: g.from_screening),
        *(FromScreening.ASSERTED_ONLY, FromScreening.OFF),
    ),
    "max_contacts": ("1", "50", lambda g: g.max_contacts, 1, 50),
    "emergency": (
        "{numbers: [112, 'urn:service:SOS'], route_to: Carrier}",
        "{numbers: '911', route_to: Carrier}",
        lambda g: g.emergency,
        Emergency(frozenset({"112", "urn:service:sos"}), "Carrier"),
        Emergency(frozenset({"911"}), "Carrier"),
    ),
}


def test_every_key_that_ip_groups_share_is_tried() -> None:
    assert SHARED.keys() == SharedSettings.model_fields.keys()


@pytest.mark.parametrize("key", SHARED)
def test_key_at_the_top_holds_for_every_ip_group_that_does_not_say_otherwise(
    key: str, loaded: Load
) -> None:
    top, own, attribute, of_top, of_own = SHARED[key]
    realm = "" if key == "realm" else "realm: example.com\n"
    mode = "server_auth_mode: http\n" if key == "http" else ""
    config = loaded(phones(f"{key}: {own}", top=f"{realm}{mode}{key}: {top}") + trunk())
    first, second = config.ip_groups
    assert (attribute(first), attribute(second)) == (of_own, of_top)


@pytest.mark.parametrize(
    ("line", "attribute", "expected"),
    [
        ("authentication_mode: 0", "authentication_mode", AuthenticationMode.USER_AUTHENTICATES),
        ("authentication_mode: 1", "authentication_mode", AuthenticationMode.SBC_AS_CLIENT),
        ("authentication_mode: SBC-as-Client", "authentication_mode", "sbc-as-client"),
        ("auth_challenge_method: 0", "auth_challenge_method", ChallengeMethod.WWW),
        ("auth_challenge_method: 1", "auth_challenge_method", ChallengeMethod.PROXY),
        ("auth_challenge_method: 401", "auth_challenge_method", ChallengeMethod.WWW),
        ("auth_challenge_method: '407'", "auth_challenge_method", ChallengeMethod.PROXY),
        ("auth_qop: 0", "auth_qop", AuthQop.AUTH),
        ("auth_qop: 1", "auth_qop", AuthQop.AUTH_INT),
        ("auth_qop: 2", "auth_qop", AuthQop.BOTH),
        ("server_auth_mode: 0", "server_auth_mode", ServerAuthMode.LOCAL),
        ("auth_algorithms: sha-256", "auth_algorithms", (Algorithm.SHA_256,)),
        ("auth_nonce_duration: 300s", "auth_nonce_duration", 300),
        ("auth_nonce_duration: 5m", "auth_nonce_duration", 300),
        ("auth_nonce_duration: 0.1h", "auth_nonce_duration", 360),
        ("auth_nonce_duration: 60.0", "auth_nonce_duration", 60),
    ],
)
def test_value_is_read_in_the_words_and_in_the_numbers_of_the_box(
    line: str, attribute: str, expected: Any, loaded: Load
) -> None:
    (group,) = loaded(phones(line)).ip_groups
    assert getattr(group, attribute) == expected


@pytest.mark.parametrize(
    "number", ["server_auth_mode: 2", "server_auth_mode: radius", "server_auth_mode: RADIUS"]
)
def test_radius_is_chosen_by_the_box_s_number_or_by_its_name(number: str, loaded: Load) -> None:
    (group,) = loaded(phones(number, RADIUS)).ip_groups
    assert group.server_auth_mode is ServerAuthMode.RADIUS


@pytest.mark.parametrize(
    ("value", "methods", "setup_invite"),
    [
        ("[REGISTER, INVITE]", {"REGISTER", "INVITE"}, False),
        (r"INVITE\REGISTER", {"REGISTER", "INVITE"}, False),
        ("register/setup-invite", {"REGISTER"}, True),
        ("Setup-INVITE", set(), True),
        ("invite, Message", {"INVITE", "MESSAGE"}, False),
        ("[register, setup-invite, invite]", {"REGISTER", "INVITE"}, True),
    ],
)
def test_authentication_method_list_is_read_in_every_way_of_writing_it(
    value: str, methods: set[str], setup_invite: bool, loaded: Load
) -> None:
    mode = "authentication_mode: sbc-as-server"
    config = loaded(phones(mode, f"authentication_method_list: {value}"))
    (group,) = config.ip_groups
    assert (set(group.methods), group.setup_invite) == (methods, setup_invite)
    assert config.warnings == ()


def test_classification_and_proxy_set_keep_all_that_they_say(loaded: Load) -> None:
    rule = (
        "  - {address: '2001:db8::/32', port: 5060, transport: TLS, "
        "from_host: '*.example', request_uri_host: sbc.example, action: deny}"
    )
    proxies = ["sip:192.0.2.1", "sips:[2001:db8::1]:5061", "sip:192.0.2.2:5070;transport=tcp"]
    text = phones().replace("user", "server").replace("classification: [{address: 10.0.0.0/8}]", "")
    (group,) = loaded(f"{text}    proxy_set: {proxies}\n    classification:\n    {rule}").ip_groups
    assert group.classification == (
        ClassificationRule(
            *(ip_network("2001:db8::/32"), 5060, "tls", "*.example", "sbc.example"),
            action=RuleAction.DENY,
        ),
    )
    assert group.proxy_set == (
        ProxyAddress(proxies[0], "192.0.2.1", None),
        ProxyAddress(proxies[1], "2001:db8::1", 5061),
        ProxyAddress(proxies[2], "192.0.2.2", 5070),
    )


@pytest.mark.parametrize("folder", ["plain", "with space", "a#b", "a?b", "100%25"])
def test_relative_paths_start_at_the_folder_of_the_file(folder: str, tmp_path: Path) -> None:
    """Whatever the folder is called, the URL leads to it: `#`, `?` and `%` mean more in one."""
    home = tmp_path / folder
    home.mkdir()
    file = home / "sbcauth.yaml"
    file.write_text(phones(top="realm: r\ndatabase: sqlite:///data/users.db"))
    config = load(file, {})
    assert sqlite_path(config.database) == home / "data" / "users.db"
    assert config.nonce_key_file == home / "data" / "sbcauth.keys"
    file.write_text(phones(top="realm: r\nnonce_key_file: my.keys"))
    assert load(file, {}).nonce_key_file == home / "my.keys"


def test_absolute_paths_stay_as_they_are(loaded: Load) -> None:
    top = "realm: r\ndatabase: sqlite:////var/lib/users.db\nnonce_key_file: /etc/my.keys"
    config = loaded(phones(top=top))
    assert config.database == "sqlite:////var/lib/users.db"
    assert config.nonce_key_file == Path("/etc/my.keys")


# Secrets


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("plain text", "plain text"),
        ("${env:PASSWORD}", "from the environment"),
        ("${file:secret.txt}", "from a file"),
        ("a-${env:PASSWORD}-b", "a-from the environment-b"),
        ("'0123'", "0123"),
        ("'*starred'", "*starred"),
    ],
)
def test_secret_is_written_out_or_fetched(
    written: str, expected: str, loaded: Load, tmp_path: Path
) -> None:
    (tmp_path / "secret.txt").write_text("from a file\n")
    text = phones("username_as_client: ${env:USERNAME}", f"password_as_client: {written}")
    environment = {"USERNAME": "1001", "PASSWORD": "from the environment"}
    (group,) = loaded(text, environment).ip_groups
    assert (group.username_as_client, group.password_as_client) == ("1001", expected)


def test_what_a_secret_holds_is_not_fetched_again(loaded: Load) -> None:
    text = phones("username_as_client: u", "password_as_client: ${env:A}")
    (group,) = loaded(text, {"A": "${env:B}", "B": SECRET}).ip_groups
    assert group.password_as_client == "${env:B}"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("${env:NOT_SET}", "the environment has no variable NOT_SET"),
        ("${file:missing.txt}", "missing.txt: No such file or directory"),
        ("${file:.}", ".: Is a directory"),
        ("${env:EMPTY}", "is empty, or has control characters"),
        ("1234", "is a number to YAML: put it in quotes"),
        ('"line\\nbreak"', "is empty, or has control characters"),
    ],
)
@pytest.mark.parametrize("key", ["password_as_client", "password_as_server"])
def test_secret_that_cannot_be_had_is_a_mistake(
    key: str, written: str, said: str, loaded: Load
) -> None:
    username = key.replace("password", "username")
    with pytest.raises(ConfigError) as caught:
        loaded(phones(f"{username}: u", f"{key}: {written}"), {"EMPTY": ""})
    (mistake,) = caught.value.mistakes
    assert (mistake.line, mistake.column, mistake.message) == (7, 25, said)


@pytest.mark.parametrize(
    "value",
    [
        f"[{SECRET}]",
        f"{{{SECRET}: x}}",
        f"{{x: {SECRET}}}",
        f"*{SECRET}",
        f"&{SECRET}",
        f"!{SECRET}",
        f"!{SECRET}! x",
        f"!!{SECRET} x",
        f"'{SECRET}",
        f'"{SECRET}\\q"',
        f"[{SECRET}",
        f'"{SECRET}\\n"',
        f"{SECRET}: x: y",
        f"@{SECRET}",
        f"|{SECRET}",
    ],
)
def test_mistake_about_a_secret_does_not_tell_it(value: str, loaded: Load) -> None:
    for key in ("password_as_server", "password_as_client"):
        with pytest.raises(ConfigError) as caught:
            loaded(phones(f"{key.replace('password', 'username')}: u", f"{key}: {value}"))
        assert SECRET not in str(caught.value)
    radius = f"radius:\n  servers:\n    - address: 192.0.2.9\n      secret: {value}"
    with pytest.raises(ConfigError) as caught:
        loaded(phones(top=f"realm: r\n{radius}"))
    assert SECRET not in str(caught.value)


def test_configuration_shows_no_secret_in_its_repr(loaded: Load) -> None:
    config = loaded(every_secret())
    assert SECRET not in repr(config)
    assert SECRET not in str(config.warnings)


def every_secret() -> str:
    return phones(
        *("username_as_server: s", f"password_as_server: {SECRET}"),
        *("username_as_client: c", f"password_as_client: {SECRET}"),
        *("server_auth_mode: radius", RADIUS.replace("secret: s", f"secret: {SECRET}")),
    )


# Mistakes in one value


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("auth_nonce_duration: 5", "26: auth_nonce_duration: 5 is not within 30..600 seconds"),
        ("auth_nonce_duration: 11m", "26: auth_nonce_duration: 11m is not within 30..600 seconds"),
        (
            "auth_nonce_duration: soon",
            "26: auth_nonce_duration: 'soon' is not a time such as 300, 300s or 5m",
        ),
        (
            "auth_nonce_duration: 30.5",
            "26: auth_nonce_duration: 30.5 is not a whole number of seconds",
        ),
        ("lockout_duration: 0", "23: lockout_duration: 0 is not within 1..86400 seconds"),
        ("lockout_duration: 25h", "23: lockout_duration: 25h is not within 1..86400 seconds"),
        ("attempt_window: 0", "21: attempt_window: 0 is not within 1..3600 seconds"),
        ("max_auth_attempts: 0", "24: max_auth_attempts: 0 is not within 1..100"),
        ("max_auth_attempts: 101", "24: max_auth_attempts: 101 is not within 1..100"),
        (
            "max_auth_attempts: 3.0",
            "24: max_auth_attempts: 3.0 is not a whole number within 1..100",
        ),
        (
            "max_auth_attempts: three",
            "24: max_auth_attempts: 'three' is not a whole number within 1..100",
        ),
        ("auth_qop: autt", "15: auth_qop: 'autt' is not one of auth, auth-int, both, none"),
        ("auth_qop: 3", "15: auth_qop: 3 is not one of auth, auth-int, both, none"),
        (
            "auth_challenge_method: 403",
            "28: auth_challenge_method: 403 is not one of 401, 407, auto",
        ),
        (
            "authentication_mode: 3",
            "26: authentication_mode: 3 is not one of "
            "user-authenticates, sbc-as-client, sbc-as-server",
        ),
        (
            "check_digest_uri: loose",
            "23: check_digest_uri: 'loose' is not one of lenient, strict",
        ),
        (
            "reject_invalid_nonce: maybe",
            "27: reject_invalid_nonce: 'maybe' is not one of true, false",
        ),
        ("reject_invalid_nonce: 1", "27: reject_invalid_nonce: 1 is not one of true, false"),
        ("auth_algorithms: []", "22: auth_algorithms: needs at least one of MD5, SHA-256, SHA-512"),
        ("auth_algorithms: [MD5, md5]", "22: auth_algorithms: names an algorithm twice"),
        ("auth_algorithms: [SHA-1]", "22: auth_algorithms: "),
        (
            "authentication_method_list: {}",
            "33: authentication_method_list: must be a list of SIP methods",
        ),
        (
            "authentication_method_list: ['IN VITE!', '(']",
            "33: authentication_method_list: ",
        ),
        ("proxy_set: [tel:123]", "16: proxy_set: 'tel:123' is not a SIP URI"),
        ("proxy_set: ['sip:192.0.2.1:0']", "16: proxy_set: 'sip:192.0.2.1:0': 0 is not within 1.."),
        ("proxy_set: ['sip:192.0.2.1:65536']", "16: proxy_set: 'sip:192.0.2.1:65536': 65536 is "),
        ("proxy_set: ['sip:']", "16: proxy_set: 'sip:' is not a SIP URI"),
        ("radius: []", "13: radius: must be a mapping of keys to values"),
        ("radius: {}", "13: radius.servers: is required"),
        ("radius: {servers: 1}", "23: radius.servers: must be a list"),
        ("radius: {servers: [{}]}", "24: radius.servers[0].address: is required"),
        (
            "radius: {servers: [{address: r.example, secret: s}]}",
            "34: radius.servers[0].address: 'r.example' is not an IPv4 or IPv6 address",
        ),
        (
            "radius: {servers: [{address: 192.0.2.9, port: 0, secret: s}]}",
            "51: radius.servers[0].port: 0 is not within 1..65535",
        ),
        (
            "radius: {servers: [{address: 192.0.2.9, secret: s}], timeout: 1m}",
            "67: radius.timeout: 1m is not within 0.1..10 seconds",
        ),
        (
            "radius: {servers: [{address: 192.0.2.9, secret: s}], attributes: digest}",
            "70: radius.attributes: 'digest' is not one of draft-sterman, rfc5090",
        ),
        ('realm: "a\\"b"', "12: realm: 'a\"b' is not a host name"),
        ('realm: "a\\r\\nX-Header: b"', "12: realm: 'a\\r\\nX-Header: b' is not a host name"),
        ("realm: ''", "12: realm: '' is not a host name"),
        ("route_to: 5", "15: route_to: must be text (put it in quotes)"),
        ("auth_nonce_duration: 0300", "26: auth_nonce_duration: is a number in another base"),
        ("auth_nonce_duration: 5:00", "26: auth_nonce_duration: is a number in another base"),
        ("max_auth_attempts: 0x3", "24: max_auth_attempts: is a number in another base"),
        ("max_auth_attempts: " + "9" * 5000, "24: max_auth_attempts: is no int that can be read"),
        ('realm: "\\uD800"', "12: realm: has half a character (U+D800 to U+DFFF)"),
        ("auth_qop: !!python/name:os.system x", "15: auth_qop: tags (!) are not read"),
    ],
)
def test_wrong_value_is_named_with_its_place_and_what_is_allowed(
    line: str, said: str, mistakes: Callable[[str], list[str]]
) -> None:
    first = mistakes(phones(line))[0]
    column, key, words = said.split(": ", 2)
    assert first.startswith(f"6:{column}: ip_groups[0].{key}: {words}")


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            "address: 10.0.0.1/8",
            "10: classification[0].address: 10.0.0.1/8 has host bits set; the prefix is 10.0.0.0/8",
        ),
        (
            "address: 2001:db8::1/32",
            "10: classification[0].address: 2001:db8::1/32 has host bits set; "
            "the prefix is 2001:db8::/32",
        ),
        ("address: host.example", "10: classification[0].address: 'host.example' is not an addre"),
        ("address: 10.0.0.0/33", "10: classification[0].address: '10.0.0.0/33' is not an address"),
        ("address: 10", "10: classification[0].address: 10 is not an address or prefix"),
        ("port: 5060", "1: classification[0].address: is required"),
        ("port: 0", "7: classification[0].port: 0 is not within 1..65535"),
        ("port: 65536", "7: classification[0].port: 65536 is not within 1..65535"),
        (
            "transport: sctp",
            "12: classification[0].transport: 'sctp' is not one of udp, tcp, tls, ws, wss",
        ),
        ("action: drop", "9: classification[0].action: 'drop' is not one of allow, deny"),
        ("from_host: 'a b'", "12: classification[0].from_host: 'a b' is not a host name"),
    ],
)
def test_wrong_classification_rule_is_named_with_its_place(
    rule: str, said: str, mistakes: Callable[[str], list[str]]
) -> None:
    text = phones().replace("[{address: 10.0.0.0/8}]", f"\n      - {rule}")
    column, _, words = said.partition(": ")
    found = mistakes(text)
    assert any(each.startswith(f"6:{8 + int(column)}: ip_groups[0].{words}") for each in found)


@pytest.mark.parametrize(
    ("top", "said"),
    [
        ("unclassified_requests: ignore", "1:24: unclassified_requests: 'ignore' is not one of "),
        (
            "websocket_origins: [phone.example.com]",
            "1:20: websocket_origins: must be origins such as https://phone.example.com",
        ),
        ("log: some", "1:6: log: 'some' is not one of refusals, changes, all"),
        (
            "log_to: sylog",
            "1:9: log_to: 'sylog' is not one of auto, journal, syslog, stdout, nor a ",
        ),
        ("log_to: /var/log/", "1:9: log_to: '/var/log/' is not one of "),
        (
            "database: mysql://host/db",
            "1:11: database: must be sqlite:///PATH, or postgresql://USER@HOST/DATABASE",
        ),
        ("database: 'sqlite:///'", "1:11: database: names no file"),
        ("database: 5", "1:11: database: must be text (put it in quotes)"),
        ("auth_qop: off", "1:11: auth_qop: "),
        ("ip_grups: []", "1:1: unknown key 'ip_grups' (did you mean 'ip_groups'?)"),
        ("auth_nonce_durations: 5", "1:1: unknown key 'auth_nonce_durations' (did you mean 'auth_"),
        ("route_to: Carrier", "1:1: unknown key 'route_to' (it belongs in an IP Group)"),
        ("<<: x", "1:1: unknown key '<<'"),
        ("a[b: 1", "1:1: unknown key 'a[b'"),
        ('"a\\nb": 1', "1:1: unknown key 'a\\nb'"),
        ('"a\\uD800b": 1', "1:1: a key must be a word"),
    ],
)
def test_mistake_at_the_top_is_named_with_its_place(
    top: str, said: str, mistakes: Callable[[str], list[str]]
) -> None:
    (mistake,) = mistakes(phones(top=f"{top}\nrealm: r"))
    assert mistake.startswith(said)
    assert mistake.isprintable()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("auth_mode: 2", "5: ip_groups[0]: unknown key 'auth_mode' (did you mean 'authentication_"),
        ("autentication_mode: 2", "5: ip_groups[0]: unknown key 'autentication_mode' (did you "),
        ("zebra: 1", "5: ip_groups[0]: unknown key 'zebra'"),
        ("no: 1", "5: ip_groups[0]: unknown key 'no'"),
        (
            "database: x",
            "5: ip_groups[0]: unknown key 'database' (it belongs at the top of the file)",
        ),
        (
            "radius: {servers: [{address: 192.0.2.9, secret: s, prot: 1}]}",
            "56: ip_groups[0].radius.servers[0]: unknown key 'prot' (did you mean 'port'?)",
        ),
        (
            "radius: {servers: [{address: 192.0.2.9, secret: s}], time_out: 1}",
            "58: ip_groups[0].radius: unknown key 'time_out' (did you mean 'timeout'?)",
        ),
    ],
)
def test_unknown_key_is_named_with_the_nearest_known_one(
    line: str, said: str, mistakes: Callable[[str], list[str]]
) -> None:
    (mistake,) = mistakes(phones(line))
    assert mistake.startswith(f"6:{said}")


def test_every_mistake_is_named_at_once_in_the_order_of_the_file(
    mistakes: Callable[[str], list[str]],
) -> None:
    """Also what is wrong between the keys of an IP Group, while another has a wrong value."""
    top = "realms: x\ndatabase: mysql://host/db"
    text = phones("auth_qop: autt", "max_auth_attempts: 0", top=top)
    assert mistakes(
        text + trunk("realm: r", "authentication_mode: 2", "username_as_client: u")
    ) == [
        "1:1: unknown key 'realms' (did you mean 'realm'?)",
        "2:11: database: must be sqlite:///PATH, or postgresql://USER@HOST/DATABASE",
        "7:15: ip_groups[0].auth_qop: 'autt' is not one of auth, auth-int, both, none",
        "8:24: ip_groups[0].max_auth_attempts: 0 is not within 1..100",
        "9:5: ip_groups[1].authentication_method_list: is required in mode sbc-as-server",
        "9:5: ip_groups[1].username_as_server: is required: "
        "what the remote server must present (type server, sbc-as-server)",
        "14:25: ip_groups[1].username_as_client: password_as_client is missing beside it",
    ]


@pytest.mark.parametrize(
    ("broken", "sound"),
    [
        ('realm: "\\n"', "auth_qop: auth"),
        ("realm: r\nradius: {}", "server_auth_mode: radius"),
        ("realm: r\nserver_auth_mode: x", RADIUS),
    ],
)
def test_mistake_at_the_top_is_not_held_against_the_ip_groups(
    broken: str, sound: str, mistakes: Callable[[str], list[str]]
) -> None:
    server = ("authentication_mode: 2", "authentication_method_list: INVITE")
    assert len(mistakes(phones(sound, *server, top=broken))) == 1


def test_route_to_an_ip_group_with_a_mistake_is_no_mistake(
    mistakes: Callable[[str], list[str]],
) -> None:
    (mistake,) = mistakes(phones("route_to: Carrier") + trunk("auth_qop: x"))
    assert "ip_groups[1].auth_qop" in mistake


# Mistakes between keys

AS_SERVER = ("authentication_mode: 2", "authentication_method_list: INVITE")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            phones() + trunk().replace("Carrier", "Phones"),
            "6:11: ip_groups[1].name: another IP Group is named 'Phones'",
        ),
        (
            phones(top="auth_qop: auth"),
            "3:5: ip_groups[0].realm: is required, here or at the top of the file",
        ),
        (
            phones("authentication_mode: sbc-as-server"),
            "3:5: ip_groups[0].authentication_method_list: is required in mode sbc-as-server",
        ),
        (
            phones() + trunk(*AS_SERVER),
            "6:5: ip_groups[1].username_as_server: is required: "
            "what the remote server must present (type server, sbc-as-server)",
        ),
        (
            phones("username_as_client: u"),
            "6:25: ip_groups[0].username_as_client: password_as_client is missing beside it",
        ),
        (
            phones("password_as_server: p"),
            "6:25: ip_groups[0].password_as_server: username_as_server is missing beside it",
        ),
        (
            phones("route_to: Nowhere"),
            "6:15: ip_groups[0].route_to: 'Nowhere' is no IP Group of type server (there is none)",
        ),
        (
            phones("route_to: Phones") + trunk(),
            "6:15: ip_groups[0].route_to: 'Phones' is no IP Group of type server (Carrier)",
        ),
        (
            phones() + trunk("route_to: Carrier"),
            "9:15: ip_groups[1].route_to: leads back to this IP Group",
        ),
        (
            phones("route_to: Carrier")
            + trunk().replace("proxy_set: [sip:", "classification: [{address: ").replace("]", "}]"),
            "6:15: ip_groups[0].route_to: 'Carrier' has no proxy_set",
        ),
        (
            phones("server_auth_mode: radius", *AS_SERVER),
            "6:23: ip_groups[0].server_auth_mode: radius needs radius.servers",
        ),
        (
            phones("radius: {servers: []}", "server_auth_mode: radius", *AS_SERVER),
            "7:23: ip_groups[0].server_auth_mode: radius needs radius.servers",
        ),
        (
            phones("authentication_mode: 2", "authentication_method_list: REGSITER"),
            "7:33: ip_groups[0].authentication_method_list: "
            "REGSITER is no method that we know (did you mean REGISTER?)",
        ),
    ],
)
def test_keys_that_do_not_go_together_are_a_mistake(
    text: str, said: str, mistakes: Callable[[str], list[str]]
) -> None:
    assert mistakes(text) == [said]


@pytest.mark.parametrize(
    "text",
    [
        phones("authentication_mode: sbc-as-client", "route_to: Carrier") + trunk(),
        phones() + trunk("authentication_mode: sbc-as-client"),
        phones("auth_qop: none", "auth_algorithms: [MD5]"),
        phones(*AS_SERVER),
        phones("route_to: Carrier") + trunk(),
        phones() + trunk(*AS_SERVER, "username_as_server: u", "password_as_server: p"),
        phones() + trunk(*AS_SERVER, "server_auth_mode: radius", RADIUS),
        phones(top="realm: r"),
    ],
)
def test_what_is_right_brings_neither_mistake_nor_warning(text: str, loaded: Load) -> None:
    assert warnings(loaded(text)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            phones("authentication_mode: 2", "authentication_method_list: []"),
            "7:33: ip_groups[0].authentication_method_list: is empty: nothing is challenged",
        ),
        (
            phones("authentication_mode: 2", "authentication_method_list: QQQQ"),
            "7:33: ip_groups[0].authentication_method_list: QQQQ is no method that we know",
        ),
        (
            phones().replace("    classification: [{address: 10.0.0.0/8}]\n", ""),
            "3:5: ip_groups[0]: no request can be classified: add proxy_set or classification",
        ),
        (
            phones() + trunk().replace("192.0.2.1", "sip.example"),
            "8:16: ip_groups[1].proxy_set: "
            "sip.example is a name: add a classification rule with its addresses",
        ),
        (
            phones() + trunk("classification: [{address: 10.0.0.0/8, action: deny}]"),
            "9:22: ip_groups[1].classification[0]: "
            "the same rule leads to the IP Group 'Phones', which comes first",
        ),
        (
            phones(*AS_SERVER, "server_auth_mode: radius", f"{RADIUS[:-1]}, tries: 1}}"),
            "9:13: ip_groups[0].radius: "
            "gives up before a server that delays its Access-Reject by a second has answered",
        ),
        (
            phones(
                *AS_SERVER, "server_auth_mode: radius", f"{RADIUS[:-1]}, tries: 4, timeout: 10}}"
            ),
            "9:13: ip_groups[0].radius: nobody waits for all tries: after 30 seconds it is 503",
        ),
        (
            phones("authentication_mode: sbc-as-client"),
            "6:26: ip_groups[0].authentication_mode: "
            "has no effect without route_to: no server is asked",
        ),
        (
            phones() + "  - {name: C, type: server, authentication_mode: sbc-as-client,\n"
            "     classification: [{address: 192.0.2.1}]}\n",
            "6:50: ip_groups[1].authentication_mode: "
            "has no effect without proxy_set: a peer is known by its address",
        ),
        (
            phones(*AS_SERVER, "server_auth_mode: radius", RADIUS, "auth_algorithms: [SHA-256]"),
            "10:22: ip_groups[0].auth_algorithms: "
            "FreeRADIUS knows MD5 only, and rejects users of other algorithms",
        ),
        (
            phones(
                *(*AS_SERVER, "server_auth_mode: radius", RADIUS),
                *("username_as_server: u", "password_as_server: p"),
            ),
            "10:25: ip_groups[0].username_as_server: "
            "plays no part: with server_auth_mode radius the external server knows the users",
        ),
    ],
)
def test_what_may_be_a_mistake_is_a_warning(text: str, said: str, loaded: Load) -> None:
    assert warnings(loaded(text)) == [said]


@pytest.mark.parametrize(
    ("password", "cut"),
    [
        ("secret #7", True),
        ("secret # of the carrier", False),
        ("secret#7", False),
        ("'secret #7'", False),
        ('"secret #7"', False),
    ],
)
def test_password_that_a_comment_cuts_short_is_a_warning(
    password: str, cut: bool, loaded: Load
) -> None:
    pair = f"username_as_server: u\n    password_as_server: {password}"
    said = "9:32: password_as_server: what follows # is a comment to YAML: "
    found = warnings(loaded(phones(*AS_SERVER) + "    " + pair + "\n"))
    assert [said in each for each in found] == [True] * cut, found


# What is no YAML, or no file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: is empty"),
        ("# nothing yet\n", "1:1: is empty"),
        ("just words", "1:1: must be a mapping of keys to values"),
        ("- a\n- b", "1:1: must be a mapping of keys to values"),
        ("a: [", "1:5: no YAML: while parsing a flow node"),
        ("realm: r\n\tx: y", "2:1: no YAML: the line is indented by a tab: use spaces alone"),
        (
            "realm: r\n \N{NO-BREAK SPACE}x: y",
            "2:2: no YAML: the line is indented by a space that is none to YAML (U+00A0): use",
        ),
        (
            "realm: @r",
            "1:8: no YAML: while scanning for the next token found character '@' that cannot "
            "start any token: put a value that begins so in quotes",
        ),
        ("realm: r\nip_groups: b: c", "2:13: no YAML: mapping values are not allowed here"),
        ("realm: a\nrealm: b", "2:1: key 'realm' is given twice"),
        ("a: &x 1\nb: *x", "1:4: no YAML: anchors (&) and aliases (*) are not read"),
        ("a: *x", "1:4: no YAML: anchors (&) and aliases (*) are not read"),
        ("a: &x [*x]", "1:4: no YAML: anchors (&) and aliases (*) are not read"),
        ("a: !x {b: c}", "1:1: unknown key 'a'"),
        ("a: 1\n---\nb: 2", "2:1: no YAML: expected a single document"),
        ("a: 1\nb: \x07", "2:4: no YAML: the character U+0007 is not allowed"),
        ("? [a, b]\n: c", "1:3: a key must be a word"),
        ("a: " + "[" * 5000, "1:24: no YAML: nested too deep"),
        ("a: " + "{b: " * 5000, "1:"),
    ],
)
def test_text_that_is_no_plain_yaml_is_refused_with_its_place(
    text: str, said: str, mistakes: Callable[[str], list[str]]
) -> None:
    assert mistakes(text)[0].startswith(said)


@pytest.mark.parametrize("value", ["2001-01-01", "=", "1.2.3", "a:b"])
def test_what_only_yaml_takes_for_something_else_is_text(value: str, loaded: Load) -> None:
    (group,) = loaded(phones().replace("Phones", value)).ip_groups
    assert group.name == value


def test_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path, reason in (
        (tmp_path / "missing.yaml", "No such file or directory"),
        (tmp_path, "Is a directory"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(path, {})
        assert str(caught.value) == f"{path}:1:1: {reason}"


def test_file_that_is_not_utf_8_is_named_with_the_place(tmp_path: Path) -> None:
    file = tmp_path / "sbcauth.yaml"
    file.write_bytes("realm: r\n# für\n".encode("latin-1"))
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    assert str(caught.value) == f"{file}:2:4: is not UTF-8"


def test_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "sbcauth.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + phones().encode())
    assert load(file, {}).ip_groups[0].realm == "example.com"


# Any text

WORDS = [*FileSettings.model_fields, *IPGroupSettings.model_fields, "servers", "secret", "address"]
SCALARS = st.sampled_from(
    [*WORDS, "sbc-as-server", "user", "server", "radius", "10.0.0.0/8", "sip:192.0.2.1"]
) | st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8))
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5)
        | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=20,
)


def is_config_or_config_error(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    try:
        config = load(file, {})
    except ConfigError as error:
        said = error.mistakes
        assert said
    else:
        said = list(config.warnings)
    for mistake in said:
        assert str(mistake).isprintable()


@given(text=st.text(st.characters(codec="utf-8")) | st.text("a:-[]{}&*!|>'\"\n #?,0"))
def test_any_text_is_a_configuration_or_a_list_of_mistakes(
    text: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    is_config_or_config_error(tmp_path_factory.getbasetemp() / "any.yaml", text.encode())


@given(content=st.binary())
def test_any_bytes_are_a_configuration_or_a_list_of_mistakes(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    is_config_or_config_error(tmp_path_factory.getbasetemp() / "any.yaml", content)


@given(
    top=st.dictionaries(st.sampled_from([*FileSettings.model_fields]), VALUES),
    groups=st.lists(st.dictionaries(st.sampled_from([*IPGroupSettings.model_fields]), VALUES)),
)
def test_any_values_of_known_keys_are_a_configuration_or_a_list_of_mistakes(
    top: dict[str, Any], groups: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    text = yaml.safe_dump({"ip_groups": groups, **top})
    is_config_or_config_error(file, text.encode("utf-8", "replace"))


# What `config show` and editors are told


def test_what_is_in_force_is_shown_in_words_with_secrets_masked(loaded: Load) -> None:
    shown = effective(loaded(every_secret()))
    (group,) = shown["ip_groups"]
    assert SECRET not in str(shown)
    assert group["password_as_server"] == group["password_as_client"] == "********"
    assert group["radius"]["servers"] == [
        {"address": "192.0.2.9", "port": 1812, "secret": "********"}
    ]
    assert (group["auth_challenge_method"], group["auth_qop"]) == ("401", "auth")
    assert (group["check_digest_uri"], group["reject_invalid_nonce"]) == ("lenient", False)


def test_password_that_is_not_set_is_not_shown_as_set(loaded: Load) -> None:
    (group,) = effective(loaded(phones()))["ip_groups"]
    assert not [key for key in group if "password" in key or key == "radius"]


@pytest.mark.parametrize(
    "text",
    [
        phones(),
        phones("route_to: Carrier", r"authentication_method_list: INVITE\setup-invite") + trunk(),
        phones("auth_algorithms: [SHA-512-256, MD5]", "check_digest_uri: strict", RADIUS),
        phones("auth_algorithms: [SHA-256, MD5]", "at_least: {qop: none}"),
    ],
)
def test_what_is_shown_can_be_loaded_and_means_the_same(text: str, loaded: Load) -> None:
    shown = effective(loaded(text))
    assert effective(loaded(yaml.safe_dump(shown))) == shown


def test_schema_for_editors_knows_every_key_and_refuses_others() -> None:
    schema = json_schema()
    assert schema["properties"].keys() == FileSettings.model_fields.keys()
    group = schema["$defs"]["IPGroupSettings"]
    assert group["properties"].keys() == IPGroupSettings.model_fields.keys()
    assert set(group["required"]) == {"name", "type"}
    assert not any(part["additionalProperties"] for part in (schema, group))


SERVES = ("authentication_mode: sbc-as-server", "authentication_method_list: [REGISTER]")


def test_what_is_offered_to_whom_is_shown_as_it_is_in_force(loaded: Load) -> None:
    def shown(*lines: str) -> dict[str, Any]:
        (group,) = effective(loaded(phones(*SERVES, *lines)))["ip_groups"]
        return dict(group)

    assert shown()["user_agents"] == []
    assert shown("auth_algorithms: SHA-256")["user_agents"] == []
    both = "auth_algorithms: [SHA-256, MD5]"
    rules = {rule["pattern"]: rule for rule in shown(both)["user_agents"]}
    assert rules["pyVoIP 1.*"]["auth_algorithms"] == ["MD5"]
    assert rules["pyVoIP 1.*"]["auth_qop"] == "auth"
    assert shown(both)["at_least"] == {"algorithm": "MD5", "qop": "auth"}
    assert shown(both, "at_least: {algorithm: MD5, qop: none}")["user_agents"][3]["auth_qop"] == (
        "none"
    )


def test_own_offer_that_is_weaker_than_at_least_is_a_mistake(loaded: Load) -> None:
    for line in ("at_least: {algorithm: SHA-256}", "at_least: {qop: auth-int}"):
        with pytest.raises(ConfigError, match="of what this IP Group offers is weaker"):
            loaded(phones(*SERVES, line))


def test_rule_that_is_weaker_than_at_least_is_warned_of(loaded: Load) -> None:
    rule = "user_agents: [{pattern: Door, auth_algorithms: MD5, auth_qop: none}]"
    config = loaded(phones(*SERVES, "auth_algorithms: SHA-256", rule))
    assert [each.message for each in config.warnings if "at_least" in each.message] == [
        "MD5, qop none is weaker than at_least (algorithm SHA-256, qop auth), and is not offered"
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("user_agents: all", "must be `known`, or a list"),
        ("user_agents: [{pattern: ''}]", "is not the text of a User-Agent"),
        ("user_agents: [{pattern: a, auth_algorithm: MD5}]", "auth_algorithms"),
        ("at_least: {qop: both}", "is not one of none, auth, auth-int"),
        ("at_least: {algorithm: SHA-1}", "is not one of MD5"),
    ],
)
def test_rules_for_user_agents_that_cannot_be_read_are_named(
    line: str, said: str, loaded: Load
) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded(phones(line))


def by_name(name: str, username: str, *lines: str) -> str:
    """Return the text of a trunk that is known by its digest user name."""
    keys = [
        "authentication_mode: sbc-as-server",
        "authentication_method_list: [INVITE]",
        f"username_as_server: {username}",
        "password_as_server: secret",
        f"classification: [{{digest_username: {username}}}]",
        *lines,
    ]
    return f"  - name: {name}\n    type: server\n" + "".join(f"    {key}\n" for key in keys)


def test_trunk_that_is_known_by_its_name_is_read_shown_and_warned_of(loaded: Load) -> None:
    config = loaded(phones() + by_name("Carrier", "carrier", "reaches: [Phones]"))
    group = config.ip_groups[1]
    assert (group.digest_username, group.classification) == ("carrier", ())
    shown = effective(config)["ip_groups"][1]
    assert shown["classification"] == [{"digest_username": "carrier"}]
    assert shown["reaches"] == ["Phones"]
    (said,) = [each.message for each in config.warnings]
    assert said == (
        "challenges INVITE of any address that no rule fits, whatever unclassified_requests says "
        "(reject)"
    )


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("auth_qop: both",), "must be that of 'Carrier'"),
        (("max_auth_attempts: 5",), "must be that of 'Carrier'"),
        (("realm: other.example",), "must be that of 'Carrier'"),
    ],
)
def test_trunks_that_are_known_by_name_are_alike(
    lines: tuple[str, ...], said: str, loaded: Load
) -> None:
    with pytest.raises(ConfigError, match=said):
        loaded(phones() + by_name("Carrier", "carrier") + by_name("Other", "other", *lines))


def test_digest_user_name_is_of_one_trunk_and_is_its_own(loaded: Load) -> None:
    with pytest.raises(ConfigError, match="another IP Group is known by 'carrier'"):
        loaded(phones() + by_name("Carrier", "carrier") + by_name("Other", "carrier"))
    with pytest.raises(ConfigError, match="must be username_as_server"):
        loaded(
            by_name("Carrier", "carrier")
            .replace("digest_username: carrier", "digest_username: x")
            .join(("realm: r\nip_groups:\n", ""))
        )
    with pytest.raises(ConfigError, match="must be username_as_server"):
        loaded(phones().replace("{address: 10.0.0.0/8}", "{digest_username: carrier}"))
    with pytest.raises(ConfigError, match="stands alone"):
        loaded(phones().replace("{address: 10", "{digest_username: carrier, address: 10"))
    with pytest.raises(ConfigError, match="REGISTER cannot be on"):
        loaded(phones() + by_name("Carrier", "carrier").replace("[INVITE]", "[INVITE, REGISTER]"))
    with pytest.raises(ConfigError, match="is required"):
        loaded(phones().replace("{address: 10.0.0.0/8}", "{port: 5060}"))
