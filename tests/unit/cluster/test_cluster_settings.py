"""Who the nodes of a cluster are, as sbcauth.yaml says it."""

from pathlib import Path

import pytest

from sbcauth.cluster.engine_settings import EnginePlace
from sbcauth.cluster.settings import ClusterSettings, NodeAddress
from sbcauth.config.load import load
from sbcauth.config.show import effective
from sbcauth.exceptions import ConfigError


def cluster_of(folder: Path, text: str) -> ClusterSettings | None:
    file = folder / "sbcauth.yaml"
    file.write_text(f"realm: example.com\n{text}\nip_groups: []\n")
    return load(file, {}).cluster


def mistakes(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as error:
        cluster_of(folder, text)
    return str(error.value).replace(f"{folder}/", "")


def test_without_cluster_a_server_is_alone(tmp_path: Path) -> None:
    assert cluster_of(tmp_path, "log: all") is None


def test_nodes_are_known_by_their_addresses(tmp_path: Path) -> None:
    cluster = cluster_of(
        tmp_path,
        "cluster: {node: 2, address: 'sip:10.0.0.12:5090',"
        " peers: ['sip:10.0.0.11:5090', 'sip:[2001:DB8::1]:5090']}",
    )
    first, second = NodeAddress("10.0.0.11", 5090), NodeAddress("2001:db8::1", 5090)
    assert cluster is not None
    assert cluster == ClusterSettings(
        node=2, address=NodeAddress("10.0.0.12", 5090), peers=(first, second)
    )
    assert cluster.others == {first.name: first, second.name: second}
    assert second.uri == "sip:[2001:db8::1]:5090"


def test_a_name_is_the_same_at_every_node_and_short() -> None:
    names = {NodeAddress(f"10.0.0.{n}", 5090).name for n in range(100)}
    assert len(names) == 100
    assert {len(name) for name in names} == {6}


def test_a_node_needs_no_address(tmp_path: Path) -> None:
    assert cluster_of(tmp_path, "cluster: {node: 1}") == ClusterSettings(node=1)


def test_show_has_the_nodes(tmp_path: Path) -> None:
    file = tmp_path / "sbcauth.yaml"
    nodes = "address: 'sip:10.0.0.12:5090', peers: 'sip:10.0.0.11:5090'"
    file.write_text(f"realm: example.com\ncluster: {{node: 2, {nodes}}}\nip_groups: []\n")
    shown = effective(load(file, {}))["cluster"]
    assert shown["node"] == 2
    assert shown["address"] == "sip:10.0.0.12:5090"
    assert shown["peers"] == ["sip:10.0.0.11:5090"]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("cluster: {}", "sbcauth.yaml:2:10: cluster.node: is required"),
        ("cluster: {node: 128}", "128 is not within 1..127"),
        ("cluster: {node: 1, adress: x}", "did you mean 'address'?"),
        ("cluster: {node: 1, address: 'sip:a.example.com:5090'}", "is not a node's address"),
        ("cluster: {node: 1, address: 'sip:10.0.0.300:5090'}", "is not a node's address"),
        ("cluster: {node: 1, address: 'sip:10.0.0.3:70000'}", "is not a node's address"),
        ("cluster: {node: 1, address: 'sip:10.0.0.3'}", "such as sip:10.0.0.11:5090"),
        ("cluster: {node: 1, peers: 'sip:10.0.0.3:5090'}", "is required where there are peers"),
        (
            "cluster: {node: 1, address: 'sip:10.0.0.3:5090', peers: 'sip:10.0.0.3:5090'}",
            "sip:10.0.0.3:5090 is this node's own",
        ),
        (
            "cluster: {node: 1, address: 'sip:10.0.0.3:5090',"
            " peers: ['sip:10.0.0.4:5090', 'sip:10.0.0.4:5090']}",
            "sip:10.0.0.4:5090 is there twice",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, mistake: str) -> None:
    assert mistake in mistakes(tmp_path, text)


def test_two_nodes_of_one_name_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NodeAddress, "name", "abcdef")
    text = "cluster: {node: 1, address: 'sip:10.0.0.3:5090', peers: 'sip:10.0.0.4:5090'}"
    assert "have one name: give one another port" in mistakes(tmp_path, text)


@pytest.mark.parametrize(
    ("keys", "mistake"),
    [
        ("node: 0", "2:17: cluster.node: 0 is not within 1..127"),
        ("node: one", "2:17: cluster.node: 'one' is not a whole number within 1..127"),
        ("nodes: 128", "cluster.nodes: 128 is not within 1..127"),
        ("engine_timeout: 2s", "cluster.engine_timeout: 2s is not within 0.005..1 seconds"),
        ("engine_timeout: 1ms", "cluster.engine_timeout: 1ms is not within 0.005..1 seconds"),
        ("engine_timeout: soon", "cluster.engine_timeout: 'soon' is not a time such as"),
        ("nonces: both", "cluster.nonces: 'both' is not one of auto, node, engine"),
        ("engine_username: me", "cluster.engine_password: is required with engine_username"),
        ("engine_password: '${env:NO_SUCH}'", "the environment has no variable NO_SUCH"),
        ("engine_password: '${file:none}'", "cluster.engine_password: none: No such file"),
        ("sentinel_password: x", "cluster.sentinel_password: is of use with Sentinels alone"),
        ("engine_ca_file: ca.pem", "cluster.engine_ca_file: is of use with rediss:// alone"),
    ],
)
def test_mistake_of_a_key_beside_the_engine_is_named(
    tmp_path: Path, keys: str, mistake: str
) -> None:
    node = "" if keys.startswith("node:") else "node: 1, "
    text = f"cluster: {{{node}{keys}, engine: 'redis://10.0.0.5'}}"
    assert mistake in mistakes(tmp_path, text)


_ENGINE_KEYS = (
    *("nodes: 3", "engine_username: a", "engine_password: b", "sentinel_password: c"),
    *("engine_ca_file: d", "engine_timeout: 50ms", "nonces: node"),
)


@pytest.mark.parametrize("key", _ENGINE_KEYS)
def test_keys_of_the_engine_want_one(tmp_path: Path, key: str) -> None:
    said = mistakes(tmp_path, f"cluster: {{node: 1, {key}}}")
    assert f"cluster.{key.partition(':')[0]}: is of use with an engine alone" in said


@pytest.mark.parametrize(
    "url",
    [
        *("", "7", "10.0.0.5:6379", "http://10.0.0.5", "redis:/10.0.0.5", "redis://", "unix://"),
        *("unix:///", "unix:run/redis.sock", "redis://h/x", "redis://h/-1", "redis://h?timeout=1"),
        *("redis://h ost", "redis://h1,h2", "redis+sentinel://s1:26379,s2:26379"),
        *("redis+sentinel://s1/", "redis+sentinel:///name", "valkey+sentinel://s1/name"),
    ],
)
def test_url_of_no_engine_is_named_with_what_is_one(tmp_path: Path, url: str) -> None:
    said = mistakes(tmp_path, f"cluster: {{node: 1, engine: '{url}'}}")
    assert said.startswith(
        f"sbcauth.yaml:2:28: cluster.engine: '{url}' is not the URL of an engine"
    )
    assert "such as redis://10.0.0.5:6379, rediss://" in said


@pytest.mark.parametrize(
    ("url", "host"),
    [("redis://h:0", "h:0"), ("redis://h:65536", "h:65536"), ("rediss://[::1", "[::1"),
     ("redis+sentinel://s1,s2:x/name", "s2:x")],
)  # fmt: skip
def test_host_of_no_engine_is_named(tmp_path: Path, url: str, host: str) -> None:
    said = mistakes(tmp_path, f"cluster: {{node: 1, engine: '{url}'}}")
    assert f"2:28: cluster.engine: '{host}' is not a host, or a host and a port" in said


def test_password_in_the_url_is_not_shown(tmp_path: Path) -> None:
    said = mistakes(tmp_path, "cluster: {node: 1, engine: 'redis://me:hunter2@10.0.0.5'}")
    assert "write engine_username, engine_password" in said
    assert "hunter2" not in said


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://10.0.0.5", EnginePlace((("10.0.0.5", 6379),))),
        ("rediss://[::1]:7/2", EnginePlace((("::1", 7),), database=2, tls=True)),
        ("unix:///run/redis.sock", EnginePlace(path="/run/redis.sock")),
        ("redis+sentinel://a,b:7/main/3",
         EnginePlace((("a", 26379), ("b", 7)), name="main", database=3)),
    ],
)  # fmt: skip
def test_url_says_where_the_engine_is(tmp_path: Path, url: str, place: EnginePlace) -> None:
    cluster = cluster_of(tmp_path, f"cluster: {{node: 1, engine: '{url}'}}")
    assert cluster is not None
    assert cluster.engine is not None
    assert cluster.engine.engine == place
