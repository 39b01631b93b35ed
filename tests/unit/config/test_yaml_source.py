"""YAML with its places: values, where each stands, and what is refused."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sbcauth.config.source import Place, dotted, place_after, read
from sbcauth.exceptions import ConfigError

TEXT = """\
# a comment
realm: example.com
ip_groups:
  - name: Phones
    ports: [1, 22]
"""
SECRET = "hunter2-is-secret"


def said(text: str) -> list[str]:
    """Return what is said of a text, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        read("f", text)
    return [str(each).removeprefix("f:") for each in caught.value.mistakes]


def test_every_value_and_every_key_has_its_place() -> None:
    source = read("f", TEXT)
    assert source.value == {
        "realm": "example.com",
        "ip_groups": [{"name": "Phones", "ports": [1, 22]}],
    }
    assert source.values["realm",] == Place(2, 8)
    assert source.keys["realm",] == Place(2, 1)
    assert source.values["ip_groups", 0] == Place(4, 5)
    assert source.values["ip_groups", 0, "ports", 1] == Place(5, 16)
    assert source.keys["ip_groups", 0, "ports"] == Place(5, 5)


def test_mistake_stands_at_the_value_the_key_or_what_is_around() -> None:
    source = read("f", TEXT)
    assert str(source.mistake(("ip_groups", 0, "name"), "no")) == "f:4:11: ip_groups[0].name: no"
    at_key = source.mistake(("ip_groups", 0, "name"), "unknown", at_key=True)
    assert str(at_key) == "f:4:5: ip_groups[0]: unknown"
    missing = source.mistake(("ip_groups", 0, "type"), "is required")
    assert str(missing) == "f:4:5: ip_groups[0].type: is required"
    assert str(source.mistake(("nothing",), "is required")) == "f:2:1: nothing: is required"


def test_paths_are_written_as_people_do() -> None:
    assert dotted(()) == ""
    assert dotted(("ip_groups", 1, "classification", 0, "port")) == (
        "ip_groups[1].classification[0].port"
    )


@pytest.mark.parametrize(
    ("text", "place"), [("", (1, 1)), ("ab", (1, 3)), ("a\n", (2, 1)), ("a\nü", (2, 2))]
)
def test_place_follows_a_text(text: str, place: tuple[int, int]) -> None:
    assert place_after(text) == place


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1", 1),
        ("-1.5", -1.5),
        ("yes", True),
        ("off", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("'yes'", "yes"),
        ("2001-01-01", "2001-01-01"),
        ("2001:db8::1", "2001:db8::1"),
        ("10.0.0.1", "10.0.0.1"),
        ("a # comment", "a"),
        ("=", "="),
    ],
)
def test_plain_values_are_read(written: str, value: object) -> None:
    assert read("f", f"a: {written}").value == {"a": value}


@pytest.mark.parametrize("text", ["", "# only a comment", "---", "~"])
def test_empty_document_is_none(text: str) -> None:
    assert read("f", text).value is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2", "2:1: key 'a' is given twice"),
        ("a:\n  b: 1\n  b: 2", "3:3: a: key 'b' is given twice"),
        ("a: &b [*b]", "1:4: no YAML: anchors (&) and aliases (*) are not read"),
        ("a: !!python/object/apply:os.system ls", "1:4: a: tags (!) are not read"),
        ("a: 010", "1:4: a: is a number in another base"),
        ("a: 1:30", "1:4: a: is a number in another base"),
        ("a: 1_000", "1:4: a: is a number in another base"),
        ("? {b: c}\n: d", "1:3: a key must be a word"),
        ("a: b\n\tc: d", "2:1: no YAML: "),
        ("a: \0", "1:4: no YAML: the character U+0000 is not allowed"),
        ("a: 1\n--- \nb: 2", "2:1: no YAML: expected a single document"),
        ("[" * 10_000, "1:22: no YAML: nested too deep"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_at_its_place(text: str, words: str) -> None:
    assert said(text)[0].startswith(words)


def test_all_that_is_not_plain_is_named_at_once() -> None:
    places = [line.split(": ")[0] for line in said("a: 010\nb: 0x1\nb: !x y")]
    assert places == ["1:4", "2:4", "3:1", "3:4"]


def test_no_value_is_in_the_repr_or_in_a_mistake() -> None:
    assert SECRET not in repr(read("f", f"a: {SECRET}"))
    for sign in ("*", "&", "!", "'", "[", "@", "%"):
        assert SECRET not in str(said(f"a: {sign}{SECRET}"))


@given(text=st.text() | st.text("a:-[]{}&*!|>'\"\n #?,0~%@`\t"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        source = read("f", text)
    except ConfigError as error:
        assert all(str(each).isprintable() for each in error.mistakes)  # noqa: PT017
    else:
        assert () in source.values or source.value is None


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(value=PLAIN)
def test_what_yaml_writes_is_read_as_it_was(value: object) -> None:
    assert read("f", yaml.safe_dump(value, default_flow_style=False)).value == value
