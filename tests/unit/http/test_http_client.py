"""The client that asks services by HTTPS, against a real one."""

import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_service import SECRET, Service

from sbcauth.digest.credentials import Credentials
from sbcauth.http.client import HttpClient
from sbcauth.http.messages import question
from sbcauth.http.settings import HttpSettings
from sbcauth.policy.external_server import Answer, Verdict
from sbcauth.policy.request import Request

REQUEST = Request(
    *("REGISTER", "sip:example.com", "192.0.2.7", 5060, "udp"),
    *("1001", "example.com", "1001", False, "call"),
)
# Without qop, as RFC 2069 has it: made by md5sum, for the password `secret`
RIGHT = Credentials(
    *("1001", "example.com", "n", "sip:example.com", "05e7539986ca0c30a58d16a9dbbc40d0"), "MD5"
)
RIGHT_QUESTION = question(REQUEST, RIGHT)
WRONG_QUESTION = question(REQUEST, RIGHT._replace(response="0" * 32))


class Recorder:
    """What the client has noted of services."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, Answer]] = []
        self.alone: list[tuple[str, float]] = []

    def answered(self, server: str, answer: Answer, seconds: float) -> None:
        self.answers.append((server, answer))
        assert seconds >= 0

    def left_alone(self, server: str, seconds: float) -> None:
        self.alone.append((server, seconds))


@pytest.fixture
def record() -> Recorder:
    return Recorder()


@pytest.fixture
def client(record: Recorder) -> HttpClient[int]:
    return HttpClient(100, time.time, record)


@pytest.fixture
def service() -> Iterator[Service]:
    with Service({"1001": "secret"}) as service:
        yield service


def verdicts(client: HttpClient[int], count: int = 1) -> list[tuple[int, Verdict]]:
    """Wait for so many verdicts, as the process does that waits for others too."""
    found: list[tuple[int, Verdict]] = []
    deadline = time.monotonic() + 10
    while len(found) < count and time.monotonic() < deadline:
        if select.select([client.descriptor], [], [], 0.1)[0]:
            found += client.verdicts()
    return found


def ask(
    client: HttpClient[int], *urls: str, asked: bytes = RIGHT_QUESTION, **settings: object
) -> Verdict:
    client.ask(1, asked, HttpSettings(urls, SECRET, **settings))  # type: ignore[arg-type]
    ((ticket, verdict),) = verdicts(client)
    assert ticket == 1
    return verdict


@pytest.mark.parametrize("gives_ha1", [False, True])
def test_service_accepts_and_rejects(
    gives_ha1: bool, client: HttpClient[int], service: Service
) -> None:
    service.gives_ha1 = gives_ha1
    assert ask(client, service.url) == Verdict(Answer.ACCEPT)
    assert ask(client, service.url, asked=WRONG_QUESTION) == Verdict(Answer.REJECT)
    assert service.asked[0]["username"] == "1001"


def test_many_are_asked_about_at_once(client: HttpClient[int], service: Service) -> None:
    service.delay = 0.3
    settings = HttpSettings((service.url,), SECRET, timeout=5.0)
    began = time.monotonic()
    for ticket in range(50):
        client.ask(ticket, RIGHT_QUESTION, settings)
    found = verdicts(client, 50)
    assert {ticket for ticket, _ in found} == set(range(50))
    assert time.monotonic() - began < 5  # 15 s, one after the other


def test_more_than_may_wait_are_given_up(service: Service) -> None:
    service.delay = 0.5
    client: HttpClient[int] = HttpClient(2, time.time)
    settings = HttpSettings((service.url,), SECRET, timeout=5.0)
    for ticket in range(3):
        client.ask(ticket, RIGHT_QUESTION, settings)
    answers = dict(verdicts(client, 3))
    assert answers[2] == Verdict(Answer.NONE, "2 requests wait for a verdict already")
    assert answers[0].answer is answers[1].answer is Answer.ACCEPT
    client.ask(4, RIGHT_QUESTION, settings)
    assert verdicts(client)[0][1].answer is Answer.ACCEPT


def test_service_that_is_silent_is_tried_again_and_then_left_alone(
    client: HttpClient[int], service: Service, record: Recorder
) -> None:
    service.delay = 1.0
    verdict = ask(client, service.url, timeout=0.1, tries=2, dead_time=30)
    assert verdict == Verdict(Answer.NONE, f"{service.url}: no answer in time")
    assert record.answers == [(service.url, Answer.NONE)] * 2
    assert record.alone == [(service.url, 30)]
    asked = len(service.asked)
    verdict = ask(client, service.url, timeout=0.1, tries=2, dead_time=30)
    assert "not asked" in verdict.detail
    assert len(service.asked) == asked


def test_reply_that_is_too_long_is_given_up(client: HttpClient[int], service: Service) -> None:
    service.says = b"x" * 70_000
    assert "too long" in ask(client, service.url, tries=1).detail


def test_next_service_is_asked_where_one_does_not_answer(
    client: HttpClient[int], service: Service
) -> None:
    nobody = "http://127.0.0.1:9/judge"
    assert ask(client, nobody, service.url).answer is Answer.ACCEPT


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("status", 500, "it answered 500"),
        ("status", 302, "it answered 302"),
        ("secret", "another", "not signed"),
        ("says", b"no JSON", "no JSON object"),
    ],
)
def test_reply_that_cannot_be_trusted_is_none(
    attribute: str, value: object, said: str, client: HttpClient[int], service: Service
) -> None:
    setattr(service, attribute, value)
    verdict = ask(client, service.url, tries=1, dead_time=0)
    assert verdict.answer is Answer.NONE
    assert said in verdict.detail
    setattr(service, attribute, {"status": 200, "secret": SECRET, "says": None}[attribute])
    assert ask(client, service.url).answer is Answer.ACCEPT


def test_service_is_asked_again_after_its_dead_time(
    client: HttpClient[int], service: Service, record: Recorder
) -> None:
    service.status = 500
    assert ask(client, service.url, tries=1, dead_time=1).answer is Answer.NONE
    service.status = 200
    time.sleep(1.1)
    assert ask(client, service.url, tries=1, dead_time=1).answer is Answer.ACCEPT
    assert record.alone == [(service.url, 1), (service.url, 0)]


def test_no_service_is_no_answer(client: HttpClient[int]) -> None:
    assert ask(client) == Verdict(Answer.NONE, "no service to ask")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, signed by itself, with its key beside it."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", "key.pem", "-out", "certificate.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder / "certificate.pem"


def test_certificate_of_a_service_is_checked(client: HttpClient[int], certificate: Path) -> None:
    key = certificate.with_name("key.pem")
    with Service({"1001": "secret"}, certificate=certificate, key=key) as service:
        assert ask(client, service.url, ca_file=certificate).answer is Answer.ACCEPT
        unknown = ask(client, service.url, tries=1)
        assert unknown.answer is Answer.NONE
        assert "CERTIFICATE_VERIFY_FAILED" in unknown.detail
        elsewhere = service.url.replace("127.0.0.1", "localhost")
        other = ask(client, elsewhere, ca_file=certificate, tries=1)
        assert other.answer is Answer.NONE
