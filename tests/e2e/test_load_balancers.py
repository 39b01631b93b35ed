"""Nodes behind a load balancer: a real Kamailio with its dispatcher, by Call-ID and in turn."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from secrets import token_hex

import counting_nodes
import pytest
from dialogs import Call
from dispatcher import BY_CALL_ID, ROUND_ROBIN, Dispatcher
from kamailio import Server, free_port, wait_for
from log_of_kamailio import check_log
from nodes import Cluster, Node
from phone import Phone

BALANCER = ("127.0.0.9", free_port())
TRUNK = ("127.6.0.1", free_port())
CONFIG = f"""
realm: example.com
auth_challenge_method: auto
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    route_to: Trunk
    classification: [{{address: 127.0.0.0/30}}]
    edge_proxies: [{BALANCER[0]}]
  - name: Office
    type: user
    realm: office.example.com
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER, INVITE]
    classification: [{{address: 127.5.0.0/16}}]
    edge_proxies: [{BALANCER[0]}]
  - name: Trunk
    type: server
    proxy_set: ["sip:{TRUNK[0]}:{TRUNK[1]}"]
"""
USERS = {str(number): f"secret of {number}" for number in range(1001, 1005)}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster"), CONFIG, users=USERS) as cluster:
        yield cluster
        for node in cluster.nodes:
            check_log(node)


@pytest.fixture(scope="module")
def balancer(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dispatcher]:
    nodes = [f"sip:127.0.0.1:{node.port}" for node in cluster.nodes]
    folder = tmp_path_factory.mktemp("dispatcher")
    with Dispatcher(folder, BALANCER, nodes, BY_CALL_ID) as dispatcher:
        yield dispatcher


class PhoneBehind(Phone):
    """A phone that knows the load balancer alone."""

    def __init__(
        self, node: Node, user: str, address: str = "127.0.0.1", realm: str = "example.com"
    ) -> None:
        super().__init__(node, user, USERS[user], address=address, realm=realm, expires=600)
        self._home = BALANCER


@pytest.fixture
def phone(cluster: Cluster, balancer: Dispatcher) -> Iterator[Callable[..., PhoneBehind]]:
    with ExitStack() as stack:
        yield lambda user, *where: stack.enter_context(PhoneBehind(cluster[0], user, *where))


def where(cluster: Cluster, call_id: str, method: str) -> tuple[set[int], set[str]]:
    """Return which nodes got a Call-ID's requests of a method, and of which IP Groups they were."""
    assert wait_for(lambda: any(node.outcomes(call_id) for node in cluster.nodes), 10)
    lines = [(node.number, line) for node in cluster.nodes for line in node.outcomes(call_id)]
    found = [(number, line["ip_group"]) for number, line in lines if line["method"] == method]
    return {number for number, _ in found}, {group for _, group in found}


def test_phones_register_at_many_nodes_and_stay_at_one_each(
    cluster: Cluster, phone: Callable[..., PhoneBehind]
) -> None:
    used = set()
    for _ in range(14):  # more than there may be Contacts: the oldest give way at all nodes
        one = phone("1001")
        assert one.register().status == 200
        nodes, groups = where(cluster, one.call_id, "REGISTER")
        assert len(nodes) == 1
        assert groups == {"Phones"}
        used |= nodes
    assert len(used) > 1


def test_a_call_between_phones_behind_it(
    cluster: Cluster, phone: Callable[..., PhoneBehind]
) -> None:
    caller, callee = phone("1002"), phone("1003")
    assert caller.register().status == 200
    assert callee.register().status == 200
    assert all(node.knows("1003", callee.host) for node in cluster.nodes)
    for _ in range(4):
        caller.call_id = f"{token_hex(8)}@phone"
        call = Call.between(caller, callee, "sip:1003@example.com")
        call.callee.says("BYE")
        call.caller.hears("BYE")
        assert callee.response(call.callee.branch).status == 200


def test_the_phones_address_decides_between_ip_groups(
    cluster: Cluster, phone: Callable[..., PhoneBehind]
) -> None:
    office = phone("1001", "127.5.0.7", "office.example.com")
    assert office.request("REGISTER").challenges[0].realm == "office.example.com"
    assert where(cluster, office.call_id, "REGISTER")[1] == {"Office"}


@pytest.mark.parametrize("by_balancer", [False, True])
def test_nobody_else_says_from_where_a_request_is(
    cluster: Cluster, phone: Callable[..., PhoneBehind], by_balancer: bool
) -> None:
    liar = phone("1001", "127.0.0.2")
    if not by_balancer:
        liar._home = ("127.0.0.1", cluster[0].port)
    forged = "Via: SIP/2.0/UDP 127.5.0.7:5060;received=127.5.0.7;rport=5060;branch=z9hG4bKforged"
    for request in (
        liar.build("REGISTER", headers=[forged]),
        liar.build("REGISTER").replace(b";rport;", b";rport;received=127.5.0.7;", 1),
    ):
        liar.send(request)
        assert liar.response().challenges[0].realm == "example.com"
    assert where(cluster, liar.call_id, "REGISTER")[1] == {"Phones"}


@pytest.mark.parametrize("how", ["itself", "in a Via of a phone's", "by the balancer"])
def test_a_trunk_calls_the_nodes_themselves_and_nobody_else_is_it(
    cluster: Cluster, phone: Callable[..., PhoneBehind], how: str
) -> None:
    """What comes by the load balancer is of phones, from whatever address."""
    callee = phone("1004")
    assert callee.register().status == 200
    assert cluster[0].knows("1004", callee.host)
    forged = f"Via: SIP/2.0/UDP {TRUNK[0]}:{TRUNK[1]};received={TRUNK[0]};branch=z9hG4bKforged"
    phones = how == "in a Via of a phone's"
    with PhoneBehind(cluster[0], "1001", "127.0.0.2" if phones else TRUNK[0]) as caller:
        if how == "itself":
            caller._home = ("127.0.0.1", cluster[0].port)
            call = Call.between(caller, callee, "sip:1004@example.com", challenged=False)
            call.callee.says("BYE")
            call.caller.hears("BYE")
            assert callee.response(call.callee.branch).status == 200
        else:
            headers = [forged] if phones else []
            caller.send(caller.build("INVITE", "sip:1004@example.com", headers=headers))
            assert caller.response().status == (407 if phones else 403)
            assert callee.hears_nothing()
        groups = {"itself": "Trunk", "by the balancer": "-"}
        assert where(cluster, caller.call_id, "INVITE")[1] == {groups.get(how, "Phones")}


def test_phones_whose_requests_are_spread_answer_one_challenge_more(tmp_path: Path) -> None:
    """Round robin: each request comes to the next node, which takes the engine's nonces."""
    in_turn = ("127.0.0.8", free_port())
    config = counting_nodes.CONFIG + f"    edge_proxies: [{in_turn[0]}]\n"
    settings = "engine_timeout: 1s"  # the machine of the tests may be busy
    with ExitStack() as stack:
        engine = counting_nodes.start_engine(stack, tmp_path / "engine")
        nodes = counting_nodes.three(stack, tmp_path, engine.url, settings=settings, config=config)
        uris = [f"sip:{node.address}:{node.port}" for node in nodes]
        stack.enter_context(Dispatcher(tmp_path, in_turn, uris, ROUND_ROBIN))
        for node in nodes:  # the first question may come before a node has found the engine
            probe = stack.enter_context(closing(counting_nodes.Roaming()))
            assert wait_for(partial(gets_in, probe, node))
        phone = stack.enter_context(closing(counting_nodes.Roaming()))
        balancer = counting_nodes.Place(*in_turn)
        assert phone.register(balancer) == [401, 401, 200]
        for _ in range(6):
            assert phone.register(balancer) == [200]
        assert all(node.outcomes(phone.call_id) for node in nodes)


def gets_in(phone: counting_nodes.Roaming, place: Server) -> bool:
    return phone.register(place)[-1] == 200
