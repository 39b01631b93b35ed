"""What every end-to-end test has: a running server, phones, and the log when it fails."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import kamailio
import pytest
from certificates import make_tls_config
from kamailio import Server, StartServer
from log_of_kamailio import check_log
from phone import Endpoint, MakeEndpoint, MakePhone, Phone
from real_programs import baresip, sipp

__all__ = ["baresip", "sipp"]  # fixtures of all modules


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Run the server that a module's CONFIG describes, with its USERS, for all of its tests.

    USERS maps user names to passwords; `Group/name` is a user of another IP Group than Phones.
    The module may set WORKERS, PORT, what else to LISTEN on, and OPTIONS of `sbcauth run`. After
    the last test all processes
    must still be there, and no bug in the log.
    """
    module = request.module
    server = Server(
        tmp_path_factory.mktemp("server"),
        module.CONFIG,
        workers=getattr(module, "WORKERS", 2),
        listen=getattr(module, "LISTEN", ()),
        port=getattr(module, "PORT", 0),
        options=getattr(module, "OPTIONS", ()),
    )
    for user, password in getattr(module, "USERS", {}).items():
        ip_group, _, username = user.rpartition("/")
        server.add_user(username, password, ip_group or "Phones")
    with server:
        processes = server.processes()
        yield server
        assert processes <= server.processes(), "a worker was lost"
    check_log(server, getattr(module, "ERRORS_MEANT", ()))


@pytest.fixture
def start_server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartServer]:
    """Start further servers, for this test alone; arguments are those of Server.

    A server that is not to be `well` may have a bug, and any error, in its log.
    """
    meant = getattr(request.module, "ERRORS_MEANT", ())
    with ExitStack() as stack:

        def start(config: str, *, well: bool = True, **options: object) -> Server:
            folder = tmp_path / f"server{len(kamailio.running)}"
            folder.mkdir()
            server = Server(folder, config, **options)  # type: ignore[arg-type]
            if well:
                stack.callback(check_log, server, meant)
            return stack.enter_context(server)

        yield start


@pytest.fixture
def phone(server: Server) -> Iterator[MakePhone]:
    """Make phones of the server; arguments are those of Phone."""
    with ExitStack() as stack:
        yield lambda *who, **how: stack.enter_context(Phone(server, *who, **how))


@pytest.fixture
def endpoint(server: Server) -> Iterator[MakeEndpoint]:
    """Make bare sockets that talk to the server; arguments are those of Endpoint."""
    with ExitStack() as stack:
        yield lambda *where, **how: stack.enter_context(Endpoint(server, *where, **how))


@pytest.fixture
def tls_config(tmp_path: Path) -> Path:
    """Return the file for `run --tls-config` that names a fresh certificate."""
    return make_tls_config(tmp_path)


_log_sizes: dict[Server, int] = {}


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if getattr(item, "execution_count", 1) > 1:  # a rerun of pytest-rerunfailures
        _finish_fixtures_of_module(item)
    _log_sizes.clear()
    _log_sizes.update({server: server.log_size() for server in kamailio.running})


def _finish_fixtures_of_module(item: pytest.Item) -> None:
    """Have a rerun set up its module's fixtures anew.

    What the run before has left in a server (lockouts, registrations, used nonces) must not make
    the second run fail.
    """
    assert isinstance(item, pytest.Function)
    for definitions in item._fixtureinfo.name2fixturedefs.values():
        for definition in definitions:
            if definition.scope == "module":
                definition.finish(item._request)  # type: ignore[arg-type]  # only its node is used


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show what each server wrote during a test that fails."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        for server in kamailio.running:
            text = server.log(_log_sizes.get(server, 0))
            report.sections.append((f"log of the server on port {server.port}", text[-20000:]))
