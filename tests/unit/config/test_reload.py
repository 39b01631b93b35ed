"""A configuration that changes while the server runs: what comes into force, and when."""

import gc
import os
from contextlib import nullcontext
from pathlib import Path

import pytest

from sbcauth.config.load import Config, load
from sbcauth.config.reload import LOOKS_EVERY, Reloaded, request_reload, stamp
from sbcauth.exceptions import ConfigError, Unavailable

TEXT = "realm: {realm}\nip_groups: [{{name: Phones, type: user}}]\n"
NOW = 1000.0


class Server:
    """A process of the server: its service is the realm of its configuration."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.log: list[str] = []
        self.built = 0
        self.write("first")
        self.reloaded = Reloaded(load(file, {}), {}, self._build, self.log.append)

    def write(self, realm: str) -> None:
        self.file.write_text(TEXT.format(realm=realm))

    def reload(self, after: float = 0) -> None:
        """Ask for a reload, as the command does, seconds after the last one."""
        config = load(self.file, {})
        request_reload(config)
        time = stamp(config).stat().st_mtime + after
        os.utime(stamp(config), (time, time))

    def realm(self, now: float) -> str:
        return self.reloaded.value(now)

    def _build(self, config: Config) -> str:
        self.built += 1
        if config.ip_groups[0].realm == "broken":
            raise Unavailable("the key cannot be read")
        return config.ip_groups[0].realm


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "sbcauth.yaml")


def test_changed_file_is_not_loaded_before_it_is_asked_for(server: Server) -> None:
    server.write("second")
    assert server.realm(NOW) == server.realm(NOW + 3600) == "first"
    assert server.log == []


def test_changed_file_is_loaded_once_when_asked_for(server: Server) -> None:
    server.write("second")
    server.reload()
    assert [server.realm(NOW + second) for second in range(3)] == ["second"] * 3
    assert server.built == 2
    assert server.log == [f"configuration reloaded: {server.file}"]


def test_stamp_is_looked_at_a_few_times_a_second(server: Server) -> None:
    assert server.realm(NOW) == "first"
    server.write("second")
    server.reload()
    assert server.realm(NOW + LOOKS_EVERY / 2) == "first"
    assert server.realm(NOW + LOOKS_EVERY * 1.01) == "second"


def test_clock_that_was_set_back_does_not_hide_a_reload(server: Server) -> None:
    server.realm(NOW)
    server.write("second")
    server.reload()
    assert server.realm(NOW - 3600) == "second"


@pytest.mark.parametrize("bad", ["", "realm: [", "relm: second", "- a"])
def test_bad_file_is_refused_by_the_command_and_changes_nothing(bad: str, server: Server) -> None:
    server.file.write_text(bad)
    with pytest.raises(ConfigError):
        server.reload()
    assert server.realm(NOW) == "first"
    assert server.log == []


@pytest.mark.parametrize("text", ["relm: x", TEXT.format(realm="broken"), None])
def test_file_that_breaks_after_the_check_leaves_the_old_one_in_force(
    text: str | None, server: Server
) -> None:
    server.reload()
    if text is None:
        server.file.unlink()
    else:
        server.file.write_text(text)
    assert server.realm(NOW) == server.realm(NOW + 1) == "first"
    (line,) = server.log
    assert line.startswith("configuration not reloaded, the old one stays in force: ")
    server.write("second")
    server.reload(after=1)
    assert server.realm(NOW + 2) == "second"


def test_two_reloads_are_done_one_after_the_other(server: Server) -> None:
    for number, realm in enumerate(("second", "third")):
        server.write(realm)
        server.reload(after=number)
        assert server.realm(NOW + number) == realm


def test_reload_that_came_before_the_start_is_not_done_again(tmp_path: Path) -> None:
    Server(tmp_path / "sbcauth.yaml").reload()
    again = Server(tmp_path / "sbcauth.yaml")
    again.realm(NOW)
    assert again.built == 1


def test_every_process_reloads_for_itself(server: Server) -> None:
    other = Reloaded(load(server.file, {}), {}, server._build, server.log.append)
    server.write("second")
    server.reload()
    assert server.realm(NOW) == other.value(NOW) == "second"


def test_process_reloads_when_it_has_its_turn(server: Server) -> None:
    turns = iter([nullcontext(False), nullcontext(False), nullcontext(True)])
    waiting = Reloaded(load(server.file, {}), {}, server._build, server.log.append, turns.__next__)
    server.write("second")
    server.reload()
    assert [waiting.value(NOW + 0.03 * look) for look in range(3)] == ["first", "first", "second"]
    assert waiting.value(NOW + 1) == "second"


@pytest.mark.parametrize("realm", ["second", "broken"])
def test_garbage_is_collected_again_after_a_reload(server: Server, realm: str) -> None:
    server.write(realm)
    server.reload()
    server.realm(NOW)
    assert gc.isenabled()


def test_stamp_that_cannot_be_written_is_an_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "sbcauth.reload").mkdir()
    with pytest.raises(IsADirectoryError):
        server.reload()
