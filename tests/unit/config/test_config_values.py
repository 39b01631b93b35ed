"""sbcauth.yaml: values that look right, and must not be taken; what no mistake may show."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from editor import SCHEMA, objections
from jsonschema import Draft202012Validator
from repository import REPOSITORY

from sbcauth.config.load import Config, load
from sbcauth.config.schema import FileSettings
from sbcauth.config.show import effective, json_schema
from sbcauth.exceptions import ConfigError
from sbcauth.policy.ip_groups import RuleAction
from sbcauth.policy.user_agents import KNOWN, rules_in_force

SAMPLE = REPOSITORY / "sbcauth.yaml"
SECRET = "hunter2-is-secret"


def loaded(folder: Path, group: dict[str, Any], *others: dict[str, Any], **top: Any) -> Config:
    """Load a file with one IP Group that a request can be classified to, and maybe others."""
    phones = {"name": "Phones", "type": "user", "classification": [{"address": "10.0.0.0/8"}]}
    file = folder / "sbcauth.yaml"
    document = {"realm": "r", **top, "ip_groups": [{**phones, **group}, *others]}
    file.write_text(yaml.safe_dump(document), "utf-8")
    return load(file, {})


def said(folder: Path, group: dict[str, Any], **top: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, group, **top)
    (mistake,) = caught.value.mistakes
    return f"{mistake.key}: {mistake.message}"


NOT_SUPPORTED = "1 is not supported (nor by the box): use radius, and radius.attributes"
YES_AND_NO = "(YAML reads yes, no, on and off as such: use quotes)"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", False, f"false {YES_AND_NO} is not a name of 1 to 64 printable characters"),
        ("name", 1001, "1001 is a number to YAML: put it in quotes"),
        ("name", "", "'' is not a name of 1 to 64 printable characters"),
        ("name", "x" * 65, f"'{'x' * 65}' is not a name of 1 to 64 printable characters"),
        ("name", "a\nb", "'a\\nb' is not a name of 1 to 64 printable characters"),
        ("name", "a\x85b", "'a\\x85b' is not a name of 1 to 64 printable characters"),
        ("name", " a", "' a' is not a name of 1 to 64 printable characters"),
        ("realm", 10.5, "10.5 is a number to YAML: put it in quotes"),
        ("realm", "a\x85b", "'a\\x85b' is not a host name, such as example.com"),
        ("auth_qop", False, f"false {YES_AND_NO} is not one of auth, auth-int, both, none"),
        ("auth_algorithms", ["SHA-1"], "'SHA-1' is not one of MD5, SHA-256, SHA-512-256"),
        ("server_auth_mode", 1, NOT_SUPPORTED),
        ("authentication_method_list", [0], "0 is no SIP method"),
        ("authentication_method_list", [None], "nothing is no SIP method"),
        ("username_as_client", False, "must be text (put it in quotes)"),
        ("password_as_client", 1.5, "is a number to YAML: put it in quotes"),
        ("password_as_client", "a\x9bb", "is empty, or has control characters"),
    ],
)
def test_value_that_yaml_or_its_writer_misread_is_explained(
    key: str, value: Any, message: str, tmp_path: Path
) -> None:
    pair = {"username_as_client": "u", "password_as_client": "p"} if "_as_" in key else {}
    assert said(tmp_path, {**pair, key: value}) == f"ip_groups[0].{key}: {message}"


@pytest.mark.parametrize("reference", ["${vault:x}", "${ENV:X}", "${env:}", "${file", "a${"])
def test_reference_that_is_misspelt_is_not_taken_for_the_password(
    reference: str, tmp_path: Path
) -> None:
    message = said(tmp_path, {"username_as_client": "u", "password_as_client": reference})
    assert message.endswith("has a ${ that begins neither ${env:NAME} nor ${file:PATH}")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sip:300.1.1.1", "300.1.1.1 is not an IPv4 or IPv6 address"),
        ("sip:[:::]", "::: is not an IPv4 or IPv6 address"),
        ("sip:192.0.2.1;transport=foo", "is not a SIP URI of a host, such as sip:192.0.2.1:5060"),
        ("sip:192.0.2.1;lr", "is not a SIP URI of a host"),
        ("sip:user@192.0.2.1", "is not a SIP URI of a host"),
        ("sip:a\r\nX-Header: b@192.0.2.1", "is not a SIP URI of a host"),
        ("sip:192.0.2.1\n", "is not a SIP URI of a host"),
    ],
)
def test_uri_that_could_classify_nothing_or_hold_more_than_a_host_is_refused(
    uri: str, message: str, tmp_path: Path
) -> None:
    assert message in said(tmp_path, {"proxy_set": [uri]})


@pytest.mark.parametrize("key", sorted(FileSettings.model_fields))
@pytest.mark.parametrize("value", [{"password": SECRET}, [SECRET, {"secret": SECRET}]])
def test_secret_that_slipped_under_another_key_is_not_told(
    key: str, value: Any, tmp_path: Path
) -> None:
    """A line that is indented too far makes a mapping of a value."""
    file = tmp_path / "sbcauth.yaml"
    file.write_text(yaml.safe_dump({"realm": "r", "ip_groups": [], key: value}))
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    if key in ("auth_algorithms", "ip_groups", "trusted_sources") and isinstance(value, list):
        return  # a word in a list of words is shown, as in any mistake
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("where", ["authentication_method_list", "proxy_set", "auth_algorithms"])
def test_secret_that_slipped_into_a_list_is_not_told(where: str, tmp_path: Path) -> None:
    assert SECRET not in said(tmp_path, {where: [{"password": SECRET}]})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("192.0.2.7/24", "192.0.2.7/24 has host bits set; the prefix is 192.0.2.0/24"),
        (["2001:db8::7"], "2001:db8::7/128 is within a source, which is an IPv6 prefix of 64 bits"),
        (["office"], "'office' is not an address or prefix, such as 192.0.2.0/24"),
    ],
)
def test_trusted_source_is_a_prefix_of_whole_sources(
    value: Any, message: str, tmp_path: Path
) -> None:
    assert said(tmp_path, {"trusted_sources": value}).endswith(message)


def test_keys_of_the_file_show_no_secret_in_their_repr() -> None:
    group = {
        **{"name": "A", "type": "user", "password_as_server": SECRET},
        **{"password_as_client": SECRET},
        "radius": {"servers": [{"address": "192.0.2.9", "secret": SECRET}]},
    }
    assert SECRET not in repr(FileSettings.model_validate({"ip_groups": [group]}))


def test_items_of_a_method_list_may_be_lists_of_the_box(tmp_path: Path) -> None:
    group = loaded(
        tmp_path, {"authentication_method_list": ["INVITE/register", r"\refer\info", ""]}
    )
    assert group.ip_groups[0].methods == {"INVITE", "REGISTER", "REFER", "INFO"}


SERVER = {"name": "B", "type": "server", "proxy_set": ["sip:192.0.2.1:5060"]}
DENY = {"classification": [{"address": "10.0.0.0/8", "action": "deny"}]}
AS_SERVER = {"authentication_mode": "sbc-as-server"}


@pytest.mark.parametrize(
    ("groups", "warning"),
    [
        ([DENY], "ip_groups[0]: no request can be classified: add proxy_set or classification"),
        (
            [{**AS_SERVER, "authentication_method_list": ["ACK"]}],
            "ip_groups[0].authentication_method_list: ACK is never challenged (RFC 3261, 22.1)",
        ),
        (
            [{"proxy_set": ["sip:192.0.2.1:5060;transport=tcp"]}, SERVER],
            "ip_groups[1].proxy_set: "
            "the same server leads to the IP Group 'Phones', which comes first",
        ),
        (
            [
                {"classification": [{"address": "10.0.0.0/8", "from_host": "a.example"}]},
                {**SERVER, "classification": [{"address": "10.0.0.0/8", "from_host": "A.example"}]},
            ],
            "ip_groups[1].classification[0]: "
            "the same rule leads to the IP Group 'Phones', which comes first",
        ),
    ],
)
def test_what_may_be_a_mistake_is_a_warning(
    groups: list[dict[str, Any]], warning: str, tmp_path: Path
) -> None:
    (found,) = loaded(tmp_path, *groups).warnings
    assert f"{found.key}: {found.message}" == warning


def test_file_without_ip_groups_is_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "sbcauth.yaml"
    file.write_text("ip_groups: []")
    (warning,) = load(file, {}).warnings
    assert str(warning) == f"{file}:1:12: ip_groups: is empty: every request is unclassified"


def test_rule_that_is_shown_can_be_loaded_and_means_the_same(tmp_path: Path) -> None:
    rule = {
        **{"address": "2001:db8::/32", "port": 5060, "transport": "tls"},
        **{"from_host": "*.example", "request_uri_host": "b.example", "action": "deny"},
    }
    config = loaded(tmp_path, {"classification": [rule], "proxy_set": ["sip:192.0.2.1"]})
    shown = effective(config)
    assert shown["ip_groups"][0]["classification"] == [rule]
    (tmp_path / "sbcauth.yaml").write_text(yaml.safe_dump(shown))
    (group,) = load(tmp_path / "sbcauth.yaml", {}).ip_groups
    assert rules_in_force(group) == rules_in_force(config.ip_groups[0]) == []
    assert replace(group, user_agents=KNOWN) == config.ip_groups[0]
    assert group.classification[0].action is RuleAction.DENY


# What an editor says by the schema


def test_schema_beside_the_sample_is_the_one_of_this_version_and_the_sample_names_it() -> None:
    schema = json.loads(SCHEMA.read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    assert schema == json_schema()
    assert SAMPLE.read_text("utf-8").startswith(f"# yaml-language-server: $schema={SCHEMA.name}\n")


EVERYTHING = """
realm: r
auth_nonce_duration: 5m
attempt_window: 60
auth_challenge_method: 401
auth_qop: 2
server_auth_mode: 0
auth_algorithms: SHA-256
radius: {servers: [{address: 192.0.2.9, secret: s}], timeout: 0.5, dead_time: 30s}
ip_groups:
- {name: A, type: 1, authentication_mode: 2, authentication_method_list: "INVITE/REGISTER",
   classification: [{address: 10.0.0.0/8, port: 5060, transport: udp}], auth_challenge_method: auto}
- {name: B, type: server, proxy_set: "sip:192.0.2.1"}
- {name: C, type: server, proxy_set: ["sip:192.0.2.2"], authentication_method_list: [INVITE]}
"""


@pytest.mark.parametrize("text", [SAMPLE.read_text("utf-8"), EVERYTHING])
def test_schema_for_editors_takes_what_the_server_takes(text: str, tmp_path: Path) -> None:
    (tmp_path / "sbcauth.yaml").write_text(text)
    load(tmp_path / "sbcauth.yaml", {})
    assert objections(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "realms: r\nip_groups: []",
        "max_auth_attempts: 0\nip_groups: []",
        "auth_qop: x",
        "ip_groups: 1",
    ],
)
def test_schema_for_editors_refuses_what_the_server_refuses(text: str, tmp_path: Path) -> None:
    (tmp_path / "sbcauth.yaml").write_text(text)
    with pytest.raises(ConfigError):
        load(tmp_path / "sbcauth.yaml", {})
    assert objections(text)
