"""What is in force: its version, and what differs from what was."""

from pathlib import Path

from sbcauth.config.load import load
from sbcauth.config.versions import Values, changes, keep, kept, values, version

TEXT = """\
realm: example.com
ip_groups:
  - {name: Phones, type: user, max_auth_attempts: 3}
  - name: Branch
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [REGISTER]
    server_auth_mode: radius
    radius: {servers: [{address: 127.0.0.1, secret: first secret}]}
"""


def of(tmp_path: Path, text: str) -> Values:
    file = tmp_path / "sbcauth.yaml"
    file.write_text(text)
    return values(load(file, {}))


def changed(tmp_path: Path, old: str, new: str) -> list[str]:
    return list(changes(of(tmp_path, TEXT), of(tmp_path, TEXT.replace(old, new))))


def test_equal_files_have_one_version_and_no_change(tmp_path: Path) -> None:
    first, second = of(tmp_path, TEXT), of(tmp_path, TEXT + "# a comment\n")
    assert version(first) == version(second)
    assert list(changes(first, second)) == []


def test_changed_key_is_told_with_both_values(tmp_path: Path) -> None:
    told = ["IP Group Phones: max_auth_attempts: 3 -> 5"]
    assert changed(tmp_path, "max_auth_attempts: 3", "max_auth_attempts: 5") == told


def test_groups_come_and_go(tmp_path: Path) -> None:
    told = changed(tmp_path, "name: Phones", "name: Sets")
    assert told == ["IP Group Phones: removed", "IP Group Sets: added"]


def test_changed_secret_is_told_and_not_shown(tmp_path: Path) -> None:
    told = ["IP Group Branch: radius.servers: a secret changed"]
    assert changed(tmp_path, "first secret", "second secret") == told
    assert "first secret" not in str(of(tmp_path, TEXT))


def test_changed_radius_server_is_told_by_its_address(tmp_path: Path) -> None:
    (told,) = changed(tmp_path, "127.0.0.1", "127.0.0.2")
    assert told == ('IP Group Branch: radius.servers: ["127.0.0.1:1812"] -> ["127.0.0.2:1812"]')


def test_what_is_kept_is_found_again_by_its_owner_alone(tmp_path: Path) -> None:
    found = of(tmp_path, TEXT)
    config = load(tmp_path / "sbcauth.yaml", {})
    assert kept(config) is None
    keep(config, found)
    assert kept(config) == found
    (file,) = tmp_path.glob("*.in_force")
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("no JSON")
    assert kept(config) is None
