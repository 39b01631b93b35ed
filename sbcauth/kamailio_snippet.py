"""What goes into the kamailio.cfg of a running deployment, with this installation's paths.

Its lines are those of our own kamailio.cfg; a test holds the two together.
"""

from pathlib import Path

from sbcauth.cluster.settings import ClusterSettings, NodeAddress
from sbcauth.policy.shared_state import Table

RPC_SOCKET = Path("/run/kamailio/kamailio_rpc.sock")
"""Where Kamailio's module jsonrpcs listens on Debian, unless it is told otherwise."""

_HEAD = """\
# sbcauth for an existing kamailio.cfg, made by `sbcauth kamailio-snippet`.
#
# Include this file after all loadmodule lines and before the request_route:
#
#   include_file "sbcauth.cfg"
#
# Take away here what your file loads already: Kamailio 5.6 loads no module twice.
#
# In the request_route, after CANCEL and retransmissions, before requests within dialogs:
#
#   route(SBCAUTH);
"""
_MODULES = ("htable", "kemix")
_TABLES = "".join(f"{table.parameter}\n" for table in Table)
_CALL = """\
# Returns for a request that may go on; all others have been answered. It has a word for that,
# $avp(sbcauth_word), unless it belongs to a dialog.
route[SBCAUTH] {
	if (is_method("ACK|CANCEL")) {
		return;
	}
	if (!python_exec("authenticate")) {
		exit;
	}
	if ($avp(sbcauth_word) == $null && (is_method("REGISTER") || !has_totag())) {
		send_reply("403", "Forbidden");
		exit;
	}
	if (is_method("REGISTER") && $avp(sbcauth_next_hop) != $null) {
		$du = $avp(sbcauth_next_hop);  # another server keeps it, and nobody here
		t_relay();
		exit;
	}
}
"""
_DIALOG_ROUTES = """
# Before your own lines for CANCEL: one that comes from elsewhere than its INVITE ends here, since
# whoever was called knows all that makes it one. It returns for all others.
route[SBCAUTH_CANCEL] {
	if (!is_method("CANCEL") || !t_check_trans() || python_exec("may_cancel")) {
		return;
	}
	if (python_exec("refuse_early", "481")) {
		send_reply("481", "Call/Transaction Does Not Exist");
	}
	exit;
}

# Before route(SBCAUTH): requests within a dialog, and every ACK. They go from the one party to the
# other, or end here. It returns for all others.
route[SBCAUTH_WITHIN_DIALOG] {
	if (!has_totag() && !is_method("ACK")) {
		return;
	}
	if (is_method("ACK")) {
		t_check_trans();  # one to a refusal ends here
	}
	if (!python_exec("within_dialog")) {
		exit;
	}
	route(SBCAUTH_SEAL);
	if (!t_relay()) {
		send_reply("503", "Next Hop Unreachable");
	}
	exit;
}

# In place of record_route(), for requests that begin a dialog.
route[SBCAUTH_SEAL] {
	if (is_method("INVITE|SUBSCRIBE|REFER|NOTIFY|UPDATE")) {
		t_on_branch("SBCAUTH_SEALED");
	}
	t_on_reply("SBCAUTH_ANSWER");
}

branch_route[SBCAUTH_SEALED] {
	python_exec("dialog_branch");
}

onreply_route[SBCAUTH_ANSWER] {
	if ($rs > 199 && $rs < 300 && is_method("INVITE|SUBSCRIBE|REFER|NOTIFY|UPDATE")
			|| is_present_hf("RSeq")
			|| is_present_hf("WWW-Authenticate") || is_present_hf("Proxy-Authenticate")
			|| is_present_hf("P-Asserted-Identity") || is_present_hf("Remote-Party-ID")
			|| is_present_hf("P-Preferred-Identity") || is_present_hf("Diversion")) {
		python_exec("dialog_reply");
	}
}

# An answer that nobody here waits for, but a 2xx from the one party of a call to the other.
reply_route {
	if (t_check_trans()) {
		return;
	}
	if (is_method("INVITE") && status =~ "^2" && python_exec("late_reply")) {
		return;
	}
	drop;
}
"""
_RADIUS_PROCESS = """\
modparam("rtimer", "timer", "name=sbcauth_radius;interval=1000u;mode=1;")
modparam("rtimer", "exec", "timer=sbcauth_radius;route=SBCAUTH_RADIUS")
"""
_RADIUS_ROUTES = """
# A request waits for a RADIUS server outside of the SIP workers, and goes on in route[{route}].
route[SBCAUTH_RADIUS] {{
	while (python_exec("next_verdict")) {{
		t_continue("$var(sbcauth_index)", "$var(sbcauth_label)", "SBCAUTH_VERDICT");
	}}
}}

route[SBCAUTH_VERDICT] {{
	if (!python_exec("verdict")) {{
		exit;
	}}
	route({route});
}}
"""
_NODES_PROCESS = """\
modparam("rtimer", "timer", "name=sbcauth_nodes;interval=1;mode=1;")
modparam("rtimer", "exec", "timer=sbcauth_nodes;route=SBCAUTH_NODES")
"""
_NODES_ROUTES = """
# First of all in the request_route: what nodes say to each other ends here, and is heard at the
# address that they have for it, and nowhere else. A registration says which node reaches the phone:
# $avp(received) = $su + ";n=" + $sht(sbcauth_keys=>node);
# (docs/cluster.md). Branches need SBCAUTH_SEALED, whatever the method.
route[SBCAUTH_FROM_NODE] {{
	if ($Ru != "{address}") {{
		if (is_method("KDMQ")) {{
			python_exec("no_node");
			exit;
		}}
		return;
	}}
	if ($sht(sbcauth_keys=>node/$si:$sp) == $null) {{
		python_exec("no_node");
		exit;
	}}
	if (is_method("KDMQ")) {{
		if ($rU == "sbcauth") {{
			python_exec("node_is_back");
			send_reply("200", "OK");
			exit;
		}}
		dmq_handle_message();
		exit;
	}}
	if (is_method("CANCEL")) {{
		if (t_check_trans()) {{
			t_relay();
		}}
		exit;
	}}
	t_check_trans();
	if (!python_exec("from_node")) {{
		exit;
	}}
	if (has_totag() || is_method("ACK")) {{
		route(SBCAUTH_SEAL);
	}}
	t_on_reply("SBCAUTH_ANSWER");
	if (!t_relay()) {{
		send_reply("503", "Next Hop Unreachable");
	}}
	exit;
}}

route[SBCAUTH_NODES] {{
	python_exec("watch_nodes");
}}
"""
_METRICS_PROCESS = """\
modparam("rtimer", "timer", "name=sbcauth_metrics;interval=1000u;mode=1;")
modparam("rtimer", "exec", "timer=sbcauth_metrics;route=SBCAUTH_SERVE_METRICS")
"""
_METRICS_ROUTE = """
# Another process waits for Prometheus.
route[SBCAUTH_SERVE_METRICS] {
	python_exec("serve_metrics");
}
"""
_USERS_PROCESS = """\
modparam("rtimer", "timer", "name=sbcauth_users;interval=1000u;mode=1;")
modparam("rtimer", "exec", "timer=sbcauth_users;route=SBCAUTH_COPY_USERS")
"""
_USERS_ROUTE = """
# A process copies users from PostgreSQL, for the workers to read.
route[SBCAUTH_COPY_USERS] {
	python_exec("copy_users");
}
"""

_NEWS_PROCESS = """\
modparam("rtimer", "timer", "name=sbcauth_news;interval=1000u;mode=1;")
modparam("rtimer", "exec", "timer=sbcauth_news;route=SBCAUTH_NEWS")
"""
_NEWS_ROUTE = """
# Another process follows what the other nodes of the cluster count.
route[SBCAUTH_NEWS] {
	python_exec("follow_news");
}
"""


def snippet(
    config_file: Path,
    script: Path,
    *,
    radius_route: str = "",
    metrics: str = "",
    rpc_socket: Path = RPC_SOCKET,
    registrar: str = "",
    dialogs: bool = False,
    cluster: ClusterSettings | None = None,
    postgresql: bool = False,
) -> str:
    """Return the text of a file that an existing kamailio.cfg includes.

    `radius_route` is the route in which requests go on that a RADIUS server has judged; without
    it, none can be asked. `metrics` is where they are served, if at all, and `rpc_socket` the
    socket of the module jsonrpcs, which has some of them. `registrar` is the table in which the
    route block keeps every registration that is accepted, if it does. With `dialogs`, those are
    sealed; they have to be where `cluster` has this node's address. A node that counts with the
    others has a process that follows their news. With `postgresql`, another
    copies users from there.
    """
    with_engine = cluster is not None and cluster.engine is not None
    definitions: dict[str, Path | str] = {"SBCAUTH_CONFIG": config_file}
    modules, parameters, routes = list(_MODULES), _TABLES, _CALL
    parameters += f'modparam("app_python3", "load", "{script}")\n'
    head, address = "", cluster.address if cluster else None
    if dialogs or address:
        routes += _DIALOG_ROUTES
    if cluster and address:
        modules += ["rtimer", "dmq", "dmq_usrloc"]
        parameters += _of_nodes(cluster, address) + _NODES_PROCESS
        head = f"server_id={cluster.node}\nlisten=udp:{address.socket}\n"
        routes += _NODES_ROUTES.format(address=address.uri)
    if radius_route:
        parameters += _RADIUS_PROCESS
        routes += _RADIUS_ROUTES.format(route=radius_route)
    if postgresql:
        parameters += _USERS_PROCESS
        routes += _USERS_ROUTE
    if metrics:
        definitions |= {"SBCAUTH_METRICS": metrics, "SBCAUTH_RPC_SOCKET": rpc_socket}
        parameters += _METRICS_PROCESS
        routes += _METRICS_ROUTE
    if with_engine:
        parameters += _NEWS_PROCESS
        routes += _NEWS_ROUTE
    if registrar:
        definitions["SBCAUTH_REGISTRAR"] = registrar
    if (radius_route or metrics or with_engine or postgresql) and "rtimer" not in modules:
        modules.append("rtimer")
    defined = "".join(f'#!define {name} "{value}"\n' for name, value in definitions.items())
    loaded = "".join(f'loadmodule "{module}.so"\n' for module in (*modules, "app_python3"))
    return "\n".join((_HEAD, defined, head + loaded, parameters, routes))


def _of_nodes(cluster: ClusterSettings, address: NodeAddress) -> str:
    """Return the lines that have Kamailio tell the other nodes who is registered."""
    values: list[tuple[str, str, str | int]] = [
        ("dmq", "server_address", address.uri),
        ("dmq", "server_socket", f"udp:{address.socket}"),
        ("dmq", "num_workers", 1),
        *(("dmq", "notification_address", peer.uri) for peer in cluster.peers),
        ("dmq_usrloc", "enable", 1),
        ("dmq_usrloc", "sync", 1),
        ("dmq_usrloc", "batch_msg_contacts", 50),
    ]
    shown = (
        (*each[:2], f'"{each[2]}"' if isinstance(each[2], str) else each[2]) for each in values
    )
    return "".join(f'modparam("{module}", "{name}", {value})\n' for module, name, value in shown)
