"""docs/configuration.md against the models: every key, its default, and examples that load."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from repository import REPOSITORY

from sbcauth.config.cluster import ClusterFileSettings
from sbcauth.config.external_servers import (
    HttpFileSettings,
    RadiusFileSettings,
    RadiusServerSettings,
)
from sbcauth.config.load import load
from sbcauth.config.mappings import RuleSettings
from sbcauth.config.schema import DEFAULTS, FileSettings, IPGroupSettings, SharedSettings
from sbcauth.config.show import effective, json_schema
from sbcauth.exceptions import ConfigError

TEXT = (REPOSITORY / "docs" / "configuration.md").read_text("utf-8")
SECRETS = {"CARRIER_PASSWORD": "secret", "RADIUS_SECRET": "secret", "SERVICE_SECRET": "secret"}

SECTIONS: dict[str, set[str]] = {
    "At the top of the file": FileSettings.model_fields.keys() - SharedSettings.model_fields.keys(),
    "At the top, or in an IP Group for itself": set(SharedSettings.model_fields),
    "An IP Group": IPGroupSettings.model_fields.keys() - SharedSettings.model_fields.keys(),
    "A classification rule": set(RuleSettings.model_fields),
    "`radius`": set(RadiusFileSettings.model_fields),
    "`radius.servers`": set(RadiusServerSettings.model_fields),
    "`cluster`": set(ClusterFileSettings.model_fields),
    "`http`": set(HttpFileSettings.model_fields),
}
MODELS: dict[str, type[BaseModel]] = dict(
    zip(
        SECTIONS,
        (
            FileSettings,
            SharedSettings,
            IPGroupSettings,
            RuleSettings,
            RadiusFileSettings,
            RadiusServerSettings,
            ClusterFileSettings,
            HttpFileSettings,
        ),
        strict=True,
    )
)


def rows(section: str) -> list[list[str]]:
    """Return the rows of a section's table: key, name, meaning, default, example."""
    text = TEXT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


ROWS = [(section, row) for section in SECTIONS for row in rows(section)]
IDS = [f"{section}: {row[0]}" for section, row in ROWS]


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_is_documented_once_and_no_unknown_one(section: str) -> None:
    keys = [row[0].strip("` ") for row in rows(section)]
    assert sorted(keys) == sorted(SECTIONS[section])


@pytest.mark.parametrize(("section", "row"), ROWS, ids=IDS)
def test_default_is_what_the_model_says(section: str, row: list[str]) -> None:
    key, default = row[0].strip("` "), row[3]
    field = MODELS[section].model_fields[key]
    value = getattr(DEFAULTS, key) if section.startswith("At the top, or") else field.default
    if default.startswith("required"):
        assert field.is_required() or not value
    elif default in ("none", "any") or "beside" in default:
        assert not value
    elif isinstance(value, tuple):
        assert yaml.safe_load(default.strip("`")) == [str(each) for each in value]
    elif isinstance(value, bool):
        assert default == f"`{str(value).lower()}`"
    else:
        assert default == f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


@pytest.mark.parametrize(("section", "row"), ROWS, ids=IDS)
def test_example_of_a_key_is_one_that_loads(section: str, row: list[str], tmp_path: Path) -> None:
    key, example = row[0].strip("` "), row[4]
    if example.startswith("see "):
        return
    (given,) = yaml.safe_load(example.strip("` ")).items()
    assert given[0] == key
    (tmp_path / "carrier.secret").write_text("secret\n")
    file = tmp_path / "sbcauth.yaml"
    file.write_text(yaml.safe_dump(document(section, given[0], given[1]), sort_keys=False))
    load(file, SECRETS)


def document(section: str, key: str, value: Any) -> dict[str, Any]:
    """Return a whole file with this key in its place."""
    group: dict[str, Any] = {"name": "Phones", "type": "user"}
    carrier = {"name": "Carrier", "type": "server", "proxy_set": ["sip:192.0.2.1"]}
    top: dict[str, Any] = {"realm": "example.com", "ip_groups": [group, carrier]}
    server = {"address": "192.0.2.9", "secret": "s"}
    radius: dict[str, Any] = {"servers": [server]}
    place: dict[str, Any] = {"address": "10.0.0.0/8"}
    match section:
        case "An IP Group":
            side = key.partition("_")[2]
            if side in ("as_server", "as_client"):  # one does not go without the other
                group |= {f"username_{side}": "u", f"password_{side}": "p"}
            group |= {"authentication_method_list": [], key: value}
        case "A classification rule":
            group["classification"] = [place | {key: value}]
        case "`radius`":
            top["radius"] = radius | {key: value}
        case "`radius.servers`":
            top["radius"] = {"servers": [server | {key: value}]}
        case "`cluster`":
            nodes = {"node": 3, "address": "sip:10.0.0.13:5090", "engine": "redis://10.0.0.5"}
            nodes |= {"engine_password": "p"}
            if key == "sentinel_password":
                nodes["engine"] = "redis+sentinel://10.0.0.5,10.0.0.6/nodes"
            elif key == "engine_ca_file":
                nodes["engine"] = "rediss://10.0.0.5"
            top["cluster"] = nodes | {key: value}
        case "`http`":
            top["http"] = {"urls": "https://auth.example.com", "secret": "s", key: value}
        case _:
            top[key] = value
    return top


@pytest.mark.parametrize("number", range(TEXT.count("```yaml")))
def test_example_is_right_and_brings_no_warning(number: int, tmp_path: Path) -> None:
    file = tmp_path / "sbcauth.yaml"
    file.write_text(re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)[number])
    said = [each.message for each in load(file, SECRETS).warnings]
    assert [each for each in said if "of any address that no rule fits" not in each] == []


NUMBERS = [
    (row[0].strip("` "), word, int(number))
    for section, row in ROWS
    for word, number in re.findall(r"`([\w-]+)` \((\d)[):]", row[2])
]


def test_numbers_of_the_box_are_documented() -> None:
    assert len(NUMBERS) == 15


@pytest.mark.parametrize(("key", "word", "number"), NUMBERS)
def test_number_of_the_box_means_the_word_beside_it(
    key: str, word: str, number: int, tmp_path: Path
) -> None:
    group = {"name": "G", "type": "user", "authentication_method_list": [], key: number}
    radius = {"servers": [{"address": "192.0.2.9", "secret": "s"}]}
    file = tmp_path / "sbcauth.yaml"
    file.write_text(yaml.safe_dump({"realm": "r", "radius": radius, "ip_groups": [group]}))
    (shown,) = effective(load(file, {}))["ip_groups"]
    assert shown[key] == word


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("realm: r\nip_groups: []\n\nauth_nonce_duration: 5\n", 0),
        ("realm: r\n" + "#\n" * 5 + "ip_groups:\n- {name: a, type: user}\n- auth_mode: 2\n", 1),
    ],
)
def test_mistakes_read_as_in_the_text(text: str, said: int, tmp_path: Path) -> None:
    file = tmp_path / "sbcauth.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, {})
    documented = [line for line in TEXT.splitlines() if line.startswith("sbcauth.yaml:")][said]
    words = documented.partition(": ")[2]
    assert any(str(each).endswith(words) for each in caught.value.mistakes)


def test_defaults_are_those_of_kamailio_cfg_where_it_has_them() -> None:
    text = (REPOSITORY / "kamailio.cfg").read_text("utf-8")
    (contacts,) = re.findall(r'^modparam\("registrar", "max_contacts", (\d+)\)$', text, re.M)
    assert DEFAULTS.max_contacts == int(contacts)


def test_schema_names_the_defaults_of_all_ip_groups() -> None:
    properties = json_schema()["properties"]
    assert properties["auth_nonce_duration"]["default"] == 300
    assert properties["auth_algorithms"]["default"] == ["MD5"]
    assert properties["user_agents"]["default"] == ["known"]
    assert properties["realm"]["default"] is None
