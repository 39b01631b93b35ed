"""Who the nodes of a cluster are, as sbcauth.yaml says it."""

from pathlib import Path

import pytest

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
