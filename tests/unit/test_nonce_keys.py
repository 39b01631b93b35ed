"""The file of nonce keys: made once, private, whole, and named where it is wrong."""

import os
import stat
import time
from hashlib import blake2s
from pathlib import Path

import pytest

from sbcauth import nonce_keys
from sbcauth.digest.nonces import LONGEST_LIFE, NonceKey
from sbcauth.exceptions import ConfigError
from sbcauth.nonce_keys import dialog_key, load_or_create, of_server, replace


def rotate(path: Path) -> tuple[NonceKey, ...]:
    """Rotate when no nonce of an older key can be alive."""
    return nonce_keys.rotate(path, time.time() + LONGEST_LIFE, lambda: None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "nonce.keys"


def test_key_is_made_at_first_start_and_survives_restarts(file: Path) -> None:
    (key,) = load_or_create(file)
    assert len(key.secret) == 32
    assert load_or_create(file) == (key,)


def test_two_installations_have_different_keys(tmp_path: Path) -> None:
    assert load_or_create(tmp_path / "a") != load_or_create(tmp_path / "b")


def test_file_is_readable_by_its_owner_alone(file: Path) -> None:
    load_or_create(file)
    rotate(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_rotation_puts_a_new_key_first_and_keeps_three(file: Path) -> None:
    (first,) = load_or_create(file)
    second, *rest = rotate(file)
    assert rest == [first]
    assert rotate(file)[1:] == (second, first)
    fourth, third, kept = rotate(file)
    assert kept == second
    assert len({fourth.secret, third.secret, second.secret, first.secret}) == 4
    assert len({fourth.id, third.id, second.id}) == 3
    assert load_or_create(file) == (fourth, third, second)


def test_key_numbers_begin_again_after_255(file: Path) -> None:
    file.write_text(f"255 {'ab' * 32}\n")
    assert [key.id for key in rotate(file)] == [0, 255]


def test_comments_and_empty_lines_are_skipped(file: Path) -> None:
    file.write_text(f"# keys\n\n7 {'ab' * 32}\n  \n")
    (key,) = load_or_create(file)
    assert (key.id, key.secret) == (7, b"\xab" * 32)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "holds no key"),
        ("# only a comment\n", 1, "holds no key"),
        ("0\n", 1, "a key is a number"),
        (f"\nx {'ab' * 32}\n", 2, "a key is a number"),
        (f"0 {'ab' * 31}\n", 1, "a key is a number to 255"),
        (f"256 {'ab' * 32}\n", 1, "a key is a number to 255"),
        (f"-1 {'ab' * 32}\n", 1, "a key is a number to 255"),
        ("0 zz\n", 1, "a key is a number"),
        (f"0 {'ab' * 32}\n0 {'cd' * 32}\n", 2, "number 0 is taken"),
    ],
)
def test_bad_file_is_named_by_its_line(file: Path, text: str, line: int, message: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_or_create(file)
    (mistake,) = caught.value.mistakes
    assert (mistake.file, mistake.line) == (str(file), line)
    assert message in mistake.message
    assert "ab" * 8 not in str(caught.value)


def test_bytes_that_are_no_text_are_a_bad_key(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\n")
    with pytest.raises(ConfigError, match="a key is a number"):
        load_or_create(file)


def test_file_that_cannot_be_read_or_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load_or_create(tmp_path)
    with pytest.raises(ConfigError, match="No such file or directory"):
        load_or_create(tmp_path / "nowhere" / "nonce.keys")


def test_rotation_that_cannot_be_written_changes_nothing(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = load_or_create(file)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ConfigError, match="No space left on device"):
        rotate(file)
    assert load_or_create(file) == keys


def test_new_key_is_known_everywhere_before_it_signs(file: Path) -> None:
    (first,) = load_or_create(file)
    meanwhile: list[tuple[NonceKey, ...]] = []
    keys = nonce_keys.rotate(file, 0, lambda: meanwhile.append(load_or_create(file)))
    assert meanwhile == [(first, keys[0])]
    assert keys == load_or_create(file) == (keys[0], first)


def test_rotation_that_was_broken_off_can_be_done_again(file: Path) -> None:
    load_or_create(file)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nonce_keys.rotate(file, 0, stop)
    assert len(load_or_create(file)) == 2
    assert len({key.id for key in rotate(file)}) == 3


def test_key_with_nonces_that_may_be_alive_is_kept(file: Path) -> None:
    load_or_create(file)
    rotate(file)
    keys = rotate(file)
    changed = file.stat().st_mtime
    with pytest.raises(ConfigError, match="may still have nonces in use: wait 600 s"):
        nonce_keys.rotate(file, changed + 5, lambda: None)
    assert load_or_create(file) == keys
    assert nonce_keys.rotate(file, changed + LONGEST_LIFE, lambda: None)[1:] == keys[:2]


def test_all_keys_can_be_replaced(file: Path) -> None:
    before = load_or_create(file)
    rotate(file)
    (key,) = replace(file)
    assert load_or_create(file) == (key,)
    assert key.secret not in {each.secret for each in before}
    assert key.id == 2


def test_file_stays_with_its_owner(file: Path) -> None:
    assert os.getuid() == 0, "only root can give a file away: run the tests as root"
    load_or_create(file)
    os.chown(file, 65534, 65534)
    rotate(file)
    assert (file.stat().st_uid, file.stat().st_gid) == (65534, 65534)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_key_of_dialogs_outlives_every_rotation(tmp_path: Path) -> None:
    path = tmp_path / "sbcauth.keys"
    oldest = load_or_create(path)[-1].secret
    key = dialog_key(path)
    assert key == blake2s(key=oldest, person=b"dialog").hexdigest()
    for _ in range(4):
        rotate(path)
    assert oldest not in {each.secret for each in load_or_create(path)}
    assert dialog_key(path) == key
    assert stat.S_IMODE((tmp_path / "sbcauth.dialog").stat().st_mode) == 0o600


def test_key_of_dialogs_goes_with_keys_that_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "sbcauth.keys"
    key = dialog_key(path)
    replace(path)
    assert dialog_key(path) != key


@pytest.mark.parametrize("content", ["", "0" * 63, "g" * 64, "é" * 64])
def test_key_of_dialogs_that_is_none_is_a_mistake(content: str, tmp_path: Path) -> None:
    (tmp_path / "sbcauth.dialog").write_text(content)
    with pytest.raises(ConfigError, match=r"sbcauth\.dialog:1:1: is not 64 hexadecimal digits"):
        dialog_key(tmp_path / "sbcauth.keys")


def test_two_servers_make_different_keys_of_one_file(file: Path, tmp_path: Path) -> None:
    keys = load_or_create(file)
    here = of_server(keys, tmp_path / "a" / "sbcauth.yaml")
    there = of_server(keys, tmp_path / "b" / "sbcauth.yaml")
    assert [key.id for key in here] == [key.id for key in keys]
    assert len({key.secret for key in (*keys, *here, *there)}) == 3
    assert of_server(keys, tmp_path / "a" / "sbcauth.yaml") == here
