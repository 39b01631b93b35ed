"""No secret of the configuration is shown, wherever it stands, and each goes back there."""

import pytest
from console_web import CONFIG, Web

from sbcauth.config.load import load_text
from sbcauth.console.console import Console
from sbcauth.console.masking import Masked

SECRET = "hunter2-and-more"
GROUP = """\
realm: example.com
ip_groups:
  - name: Phones
    type: user
    authentication_mode: sbc-as-server
    authentication_method_list: [register]
"""
CLUSTER = """\
database: postgresql://sbcauth@db.example/sbcauth
cluster:
  node: 1
  nodes: 3
  engine: redis://10.0.0.5:6379
  ENGINE
  address: sip:10.0.0.11:5090
  peers: [sip:10.0.0.12:5090, sip:10.0.0.13:5090]
"""
TEXTS = {
    "PostgreSQL URL": f"database: postgresql://u:{SECRET}@db/x\n{GROUP}",
    "PostgreSQL URL, in quotes": f'database: "postgresql://u:{SECRET}@a,b/x"\n{GROUP}',
    "PostgreSQL parameter": f"database: postgresql://u@db/x?password={SECRET}&a=b\n{GROUP}",
    "misspelt URL": f"database: postgresq://u:{SECRET}@db/x\n{GROUP}",
    "URL in a list": f"database: [postgresql://u:{SECRET}@db/x]\n{GROUP}",
    "URL that cannot be read": f"database: postgresql://u:{SECRET}@db/x\n{GROUP} - [\n",
    "URL of the engine": GROUP + CLUSTER.replace("//10.0.0.5", f"//u:{SECRET}@10.0.0.5"),
    "engine_password": GROUP + CLUSTER.replace("ENGINE", f"engine_password: {SECRET}"),
    "sentinel_password": GROUP + CLUSTER.replace("ENGINE", f"sentinel_password: {SECRET}"),
    "engine_password unread": f"cluster:\n  engine_password: {SECRET}\n{GROUP} - [\n",
    "list": f"{GROUP}    password_as_server: [1, {SECRET}]\n",
    "mapping": f"{GROUP}    password_as_server:\n      a: {SECRET}\n    realm: b.example\n",
    "RADIUS": GROUP + "    radius: {servers: [{address: 127.0.0.1, secret: " + SECRET + "}]}\n",
    "http": GROUP + "    http: {urls: [https://a.example/], secret: " + SECRET + "}\n",
    "misspelt key": f"{GROUP}    pasword_as_server: {SECRET}\n",
    "twice": f"{GROUP}    password_as_server: {SECRET}\n    password_as_server: {SECRET}\n",
    "anchor": f"{GROUP}    password_as_server: &a {SECRET}\n",
    "block": f"{GROUP}    password_as_server: |\n      {SECRET}\n\n      more\n\n    a: b\n",
    "block that cannot be read": f"password_as_server: |\n  {SECRET}\n\n{GROUP} - [\n",
    "comment": f"# password_as_server: {SECRET}\n{GROUP}  # secret: {SECRET}\n",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_secret_is_shown_nowhere_and_goes_back(text: str, admin: Web, console: Console) -> None:
    masked = Masked(text)
    assert SECRET not in masked.shown
    assert masked.restored(masked.shown) == text
    console.file.write_text(text)
    for path in ("/configuration", "/ip-groups"):
        assert SECRET not in admin.client.get(path).text
    for path in ("/configuration/check", "/configuration/save"):
        assert SECRET not in admin.post(path, text=masked.shown, digest="")[1]


def test_password_of_a_url_goes_into_no_other(admin: Web, console: Console) -> None:
    console.file.write_text(TEXTS["PostgreSQL URL"])
    shown = Masked(TEXTS["PostgreSQL URL"]).shown
    for edited in (
        shown.replace("@db/", "@evil.example/"),
        shown.replace("database:", "realm:"),
        f"{shown}log_to: «secret 1»\n",
        f"{shown}password_as_server: «secret 1»\n",
    ):
        assert SECRET not in Masked(TEXTS["PostgreSQL URL"]).restored(edited).replace(
            f"database: postgresql://u:{SECRET}@db/x\n", ""
        )
        _, text = admin.post("/configuration/check", text=edited)
        assert SECRET not in text
        assert "counts only where it was" in text


def test_message_that_would_quote_a_secret_has_its_mark(admin: Web, console: Console) -> None:
    text = GROUP + f"    password_as_server: {SECRET}\n"
    console.file.write_text(text)
    _, shown = admin.post("/configuration/check", text=text.replace("[register]", f"[{SECRET}]"))
    assert SECRET not in shown


def test_configuration_itself_shows_no_password(console: Console) -> None:
    config = load_text(console.file, TEXTS["PostgreSQL URL"], {})
    assert SECRET in config.database
    assert SECRET not in repr(config)


@pytest.mark.parametrize(
    "text",
    [
        "a:\n  secret: hunter2\n",
        "a: {secret: hunter2, b: c}\n",
        "secret: |\n  hunter2\n  hunter2\nb: c\n",
        'secret: "hunter2"\n',
        "password_as_client:\n  hunter2\n",
        "a: [\nsecret: hunter2\n",
        "a: [\nsecret: |\n  hunter2\n  hunter2\nb: c\n",
        "- secret: hunter2 # hunter2\n  x: [\n",
        "'secret': hunter2\nx: [\n",
    ],
)
def test_secret_is_masked_however_it_is_written(text: str) -> None:
    assert "hunter2" not in Masked(text).shown


@pytest.mark.parametrize(
    "text", [CONFIG, "a: {secret: hunter2, b: c}\n", 'secret: "a b"\nb: 1\n', "a: 1\n"]
)
def test_masked_text_is_restored_as_it_was(text: str) -> None:
    masked = Masked(text)
    assert masked.restored(masked.shown) == text


def test_reference_in_the_place_of_a_secret_is_shown() -> None:
    assert Masked("secret: ${env:SECRET}\n").shown == "secret: ${env:SECRET}\n"
