"""Which modules are missing: told with the package that Debian has them in."""

import re
import subprocess

from repository import REPOSITORY

from sbcauth.monitoring.modules import folder, installed, missing


def test_nothing_is_missing_here() -> None:
    assert not list(missing(installed()))


def test_every_module_is_told_with_its_package() -> None:
    named = {module.module: module.package for module in missing([])}
    assert named["htable.so"] == "kamailio"
    for module, package in named.items():
        done = subprocess.run(
            ["dpkg", "-S", f"{folder()}/{module}"], capture_output=True, text=True, check=True
        )
        assert done.stdout.partition(":")[0] == package


def test_all_lines_of_kamailio_cfg_are_seen() -> None:
    text = (REPOSITORY / "kamailio.cfg").read_text()
    loaded = set(re.findall(r'^loadmodule "(.*)"', text, re.MULTILINE))
    assert {module.module for module in missing([])} == loaded


def test_module_for_a_definition_is_told_as_such() -> None:
    found = {module.module: module.definition for module in missing([])}
    assert (found["tls.so"], found["websocket.so"]) == ("WITH_TLS", "WITH_WEBSOCKET")
    assert (found["app_python3.so"], found["htable.so"]) == ("", "")


def test_mistake_says_what_to_type() -> None:
    (mistake,) = (str(each) for each in missing([]) if each.module == "htable.so")
    assert mistake == "htable.so is missing: apt install --reinstall kamailio"
