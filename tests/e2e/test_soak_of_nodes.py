"""Three nodes under load, while nodes, engines and the database die, freeze and come back.

`make test` has the five faults of which all is soon well again, for a moment each; `make soak` has
all, one a minute, for ten minutes:

    SBCAUTH_CLUSTER_SOAK=600 pytest -s tests/e2e/test_soak_of_nodes.py

It counts on the side of the phones, which know which of their answers were right. Never is one
answer accepted twice, never are more guesses judged than promised, never is a phone that is known
turned away, and after each fault all is well again by itself.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from secrets import token_hex
from threading import Event, Lock, Thread

import pytest
from counting_nodes import Roaming
from kamailio import Server
from lab import Fault, Lab
from log_of_kamailio import check_log
from sip import Challenge, Response

SECONDS = int(os.environ.get("SBCAUTH_CLUSTER_SOAK", "0"))
EVERY = 60.0
"""Seconds from one fault to the next, where it lasts."""
LASTS = 10.0 if SECONDS else 0.5
"""Seconds from a fault until it is mended."""
ATTEMPTS = 3
"""What `max_auth_attempts` is."""
PHONES = 12
GUESSES = 4
"""Guesses at each node at once: the client shares the machine with the nodes."""
USERS = [str(number) for number in range(1001, 1001 + PHONES + 20)]
GUESSED = [str(number) for number in range(2001, 2001 + (20_000 if SECONDS else 1_000))]
"""Names that are guessed at, each once: a hundred failures lock a name out, and then nothing is
judged."""
PATIENCE = 4.0
"""Seconds after which a phone goes to another node."""


class Tally:
    """What phones count; whatever must not be is in `wrong`."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.waited: list[float] = []
        self.wrong: list[str] = []
        self._lock = Lock()

    def add(self, what: str) -> None:
        with self._lock:
            self.counts[what] += 1

    def took(self, seconds: float) -> None:
        with self._lock:
            self.waited.append(seconds)

    def must_not_be(self, what: str) -> None:
        with self._lock:
            self.wrong.append(f"{time.strftime('%T')} {what}")


class Load:
    """Phones that do what they do until the load ends, each kind in a thread of its own."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.tally = Tally()
        self.losses = 0
        """How often the engine may have forgotten what it had counted."""
        self.is_calm = Event()
        self.is_calm.set()
        self._ends = Event()
        self._phones = [lab.stranger(user) for user in USERS[:PHONES]]
        self._homes = {phone: number % 3 for number, phone in enumerate(self._phones)}
        self._threads = [
            Thread(target=self._watched, args=(work,))
            for work in (self._registrations, self._answers_at_once, self._guesses)
        ]

    def __enter__(self) -> "Load":
        for phone, home in self._homes.items():
            assert phone.register(self.lab.nodes[home])[-1] == 200
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()
        for phone in self._phones:
            phone.close()

    def _watched(self, work: Callable[[], Iterator[None]]) -> None:
        try:
            for _ in work():
                if self._ends.is_set():
                    return
        except Exception as error:  # a bug of the test fails it
            self.tally.must_not_be(f"{work.__name__} ended: {error!r}")

    def _registrations(self) -> Iterator[None]:
        """Phones that stay at their node, and go to the next one when it does not answer."""
        while True:
            for phone in self._phones:
                self._homes[phone] = self._register(phone, self._homes[phone])
                yield
                time.sleep(0.01)

    def _register(self, phone: Roaming, home: int) -> int:
        """Register a phone that is known; return the node at which it did."""
        for number in (home, (home + 1) % 3, (home + 2) % 3):
            seen = self._series(phone, self.lab.nodes[number])
            if not seen:
                self.tally.add("a node did not answer, its phone went to the next")
                continue
            self.tally.add(f"registered after {len(seen) - 1} challenges" if seen[-1] == 200
                           else f"known phone got {seen}")  # fmt: skip
            if seen[-1] != 200:
                self.tally.must_not_be(f"a known phone got {seen} at node {number + 1}")
            return number
        self.tally.must_not_be("no node answered a known phone")
        return home

    def _series(self, phone: Roaming, node: Server) -> list[int]:
        """Return what a phone got until it was let in, or refused; nothing without an answer."""
        seen: list[int] = []
        while len(seen) < 4:
            phone.nc += 1
            began = time.monotonic()
            try:
                response = phone.ask(node, phone.build(phone.challenge, nc=phone.nc), PATIENCE)
            except (TimeoutError, OSError):
                return []
            self.tally.took(time.monotonic() - began)
            seen.append(response.status)
            if response.status != 401:
                break
            phone.challenge, phone.nc = response.challenges[0], 0
        return seen

    def _answers_at_once(self) -> Iterator[None]:
        """One right answer at three nodes at once; and later again, at any."""
        phone = self.lab.stranger(USERS[PHONES])
        accepted: list[Challenge] = []
        try:
            while True:
                challenge = self._challenge(phone, random.choice(self.lab.nodes))  # noqa: S311
                if challenge and random.random() < 0.5:  # noqa: S311 - one of the engine's
                    other = random.choice(self.lab.nodes)  # noqa: S311
                    challenge = self._challenge(phone, other, challenge) or challenge
                if challenge:
                    if self._at_once(phone, challenge):
                        accepted.append(challenge)
                    del accepted[:-200]
                for old in random.sample(accepted, min(3, len(accepted))):
                    self._again(phone, old)
                yield
                time.sleep(0.02)
        finally:
            phone.close()

    def _challenge(
        self, phone: Roaming, node: Server, answering: Challenge | None = None
    ) -> Challenge | None:
        """Return a challenge that a node gives; where one is answered, by another user's name."""
        raw = phone.build(answering, nc=99) if answering else phone.build()
        try:
            response = phone.ask(node, raw, PATIENCE)
        except (TimeoutError, OSError):
            return None
        return response.challenges[0] if response.status == 401 else None

    def _at_once(self, phone: Roaming, challenge: Challenge) -> bool:
        raw = phone.build(challenge)
        for node in self.lab.nodes:
            phone.send(node, raw)
        seen = [response.status for response in self._answers(phone, 3)]
        self.tally.add(f"one answer at three nodes was accepted {seen.count(200)} times")
        if seen.count(200) > 1:
            self.tally.must_not_be(f"one answer at three nodes got {seen}: {challenge.nonce}")
        return 200 in seen

    def _again(self, phone: Roaming, challenge: Challenge) -> None:
        """Answer with a nonce count that was accepted before, in another request."""
        node = random.choice(self.lab.nodes)  # noqa: S311
        try:
            status = phone.ask(node, phone.build(challenge), PATIENCE).status
        except (TimeoutError, OSError):
            return
        self.tally.add(f"a used nonce count got {status}")
        if status not in (401, 503):
            self.tally.must_not_be(f"a used nonce count got {status}: {challenge.nonce}")

    def _answers(self, phone: Roaming, count: int) -> Iterator[Response]:
        """Yield the answers that come; a node that is not there gives none."""
        patience = PATIENCE if self.is_calm.is_set() else 2 * PATIENCE
        deadline = time.monotonic() + patience
        for _ in range(count):
            try:
                yield phone.receive(max(0.01, deadline - time.monotonic()))
            except TimeoutError:
                return
            except OSError:  # nobody is at one of the ports
                continue

    def _guesses(self) -> Iterator[None]:
        """Strangers who guess at all nodes at once, and know the password in the end."""
        while True:
            for user in GUESSED:
                self._guess(user)
                yield

    def _guess(self, user: str) -> None:
        losses = self.losses
        guesser = self.lab.stranger(user)
        try:
            challenges = [
                (node, challenge)
                for node in self.lab.nodes
                for _ in range(GUESSES)
                if (challenge := self._challenge(guesser, node))
            ]
            for node, challenge in challenges:
                guesser.send(node, guesser.build(challenge, password=token_hex(4)))
            answers = list(self._answers(guesser, len(challenges)))
            judged = [each for each in answers if each.status == 401
                      and not each.challenges[0].stale]  # fmt: skip
            refused = sum(each.status == 403 for each in answers)
            for each in answers:
                self.tally.add(f"a guess got {each.status}")
            granted = ATTEMPTS * (1 + self.losses - losses)
            if len(judged) > granted - 1:
                self.tally.must_not_be(f"{len(judged)} guesses judged beside {refused} refused")
            if refused and len(judged) == ATTEMPTS - 1 and self.losses == losses:
                self._knows_it(guesser, losses)  # the third was refused, and locked it out
        finally:
            guesser.close()

    def _knows_it(self, guesser: Roaming, losses: int) -> None:
        """Answer rightly at each node, locked out as the guesser is."""
        for node in self.lab.nodes:
            challenge = self._challenge(guesser, node)
            if challenge is None:
                continue
            try:
                status = guesser.ask(node, guesser.build(challenge), PATIENCE).status
            except (TimeoutError, OSError):
                continue
            self.tally.add(f"whoever was locked out got {status}")
            if status == 200 and self.losses == losses:
                self.tally.must_not_be("whoever was locked out was let in")


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path, USERS + GUESSED) as lab:
        yield lab
        for node in lab.nodes:
            check_log(node)


def happens(fault: Fault, load: Load, seconds: float) -> None:
    """Let something go wrong, for so long; count what the engine may forget before it can."""
    load.losses += fault.forgets
    load.is_calm.clear()
    fault.begin()
    try:
        time.sleep(seconds)
    finally:
        fault.mend()
        load.losses += fault.forgets
        load.is_calm.set()


def test_nodes_keep_their_promises_while_anything_dies(lab: Lab) -> None:
    began = time.monotonic()
    done = 0
    with Load(lab) as load:
        for fault in cycle(lab.faults()) if SECONDS else lab.faults()[:5]:
            at = time.monotonic()
            happens(fault, load, LASTS)
            well = lab.wait_until_well()
            done += 1
            print(f"{at - began:6.0f} s: {fault.name}; well {well:.1f} s after")
            assert not load.tally.wrong, load.tally.wrong
            if SECONDS:
                time.sleep(max(0.0, at + EVERY - time.monotonic()))
                if time.monotonic() - began > SECONDS:
                    break
        seen = lab.change_is_seen(USERS[-1])
    print(f"a change of a user was seen after {', '.join(f'{each:.2f}' for each in seen)} s")
    waited = sorted(load.tally.waited)
    print(f"{done} faults in {time.monotonic() - began:.0f} s; an answer took "
          f"{waited[len(waited) // 2] * 1000:.0f} ms, 1 % longer than "
          f"{waited[-len(waited) // 100] * 1000:.0f} ms")  # fmt: skip
    for what, count in sorted(load.tally.counts.items()):
        print(f"{count:7} {what}")
    assert not load.tally.wrong, load.tally.wrong
    counts = load.tally.counts
    assert counts["one answer at three nodes was accepted 1 times"] > 0
    assert counts["a guess got 403"] > 0
    assert counts["whoever was locked out got 403"] > 0
    assert counts["registered after 0 challenges"] > 0
