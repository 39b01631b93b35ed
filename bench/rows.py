"""The rows of the benchmark. Each starts what it needs, measures, and returns one result."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from bench.cluster import cluster
from bench.importing import importing
from bench.measure import Bed, Series, Settings, beds, compare
from bench.phones import BODY, Phones, Start
from bench.radius import waiting_for_radius
from bench.reloading import reloading
from bench.report import Result
from bench.servers import CONFIG, Native, Ours, Server, Unprotected, many_groups
from bench.shipped import as_shipped
from bench.worst import botnet, storm

USERS = 10_000
_SUSTAINED = 50.0  # ms that one in a hundred may take
_CPU = "µs"


def challenge_and_verify(settings: Settings) -> Result:
    """Register: 401, then credentials, then 200."""
    servers: list[Server] = [
        Ours(settings.folder / "ours", USERS, settings.workers),
        Native(settings.folder / "native", USERS, settings.workers),
        Native(
            settings.folder / "unsafe",
            USERS,
            settings.workers,
            name="native, no replay protection",
            define="BENCH_WITHOUT_REPLAY_PROTECTION",
        ),
        Ours(
            settings.folder / "logging",
            USERS,
            settings.workers,
            name="ours, each outcome logged",
            quiet=False,
        ),
        Unprotected(settings.folder / "none", USERS, settings.workers),
    ]
    active = range(USERS)
    with beds(servers, active) as running:
        series = compare(running, Phones.register, active, settings)
    return Result("registration", f"challenge and verify, {USERS} users", _CPU, series, "native")


def user_count(settings: Settings) -> Result:
    """Register with other numbers of users; 10,000 of them, or all, are active."""
    series: list[Series] = []
    for users in (1_000, 10_000, 100_000, 1_000_000):
        active = range(0, users, max(1, users // USERS))
        servers = _both(settings, f"users{users}", users)
        with beds(servers, active) as running:
            found = compare(running, Phones.register, active, settings)
            series += [Series(f"{each.name}, {users}", each.values) for each in found]
            if users > USERS:
                rare = range(1, users, max(1, users // USERS))
                fresh = settings._replace(rounds=min(settings.rounds, USERS // settings.pairs))
                found = compare(running, Phones.register, rare, fresh)
                series += [
                    Series(f"{each.name}, {users}, never seen", each.values) for each in found
                ]
    return Result("number-of-users", "number of users", _CPU, series, "ours, 1000")


def ip_group_count(settings: Settings) -> Result:
    """Register with more IP Groups, each with ten classification rules."""
    servers = [
        Ours(
            settings.folder / f"groups{groups}",
            USERS,
            settings.workers,
            name=f"{groups} IP Groups",
            config=many_groups(groups),
        )
        for groups in (1, 100, 1000)
    ]
    active = range(USERS)
    with beds(servers, active) as running:
        series = compare(running, Phones.register, active, settings)
    return Result(
        "number-of-ip-groups", "number of IP Groups, ten rules each", _CPU, series, "1 IP Groups"
    )


def other_requests(settings: Settings) -> Result:
    """Call; register with SHA-256; call with auth-int and a body of 2 KB."""
    active = range(USERS)
    with beds(_both(settings, "invite", USERS), active) as running:
        series = _named("INVITE", compare(running, Phones.invite, active, settings))
    sha_256: list[Server] = [
        Ours(
            settings.folder / "ours-sha",
            USERS,
            settings.workers,
            config=CONFIG.replace("realm:", "auth_algorithms: [SHA-256]\nrealm:", 1),
        ),
        Native(settings.folder / "native-sha", USERS, settings.workers, define="BENCH_SHA_256"),
    ]
    with beds(sha_256, active, "SHA-256") as running:
        series += _named("SHA-256", compare(running, Phones.register, active, settings))
    both = CONFIG.replace("realm:", "auth_qop: both\nrealm:", 1)
    server = Ours(settings.folder / "ours-int", USERS, settings.workers, config=both)
    with beds([server], active) as running:
        for qop in (b"auth", b"auth-int"):
            found = compare(running, _invite_with_body(qop), active, settings)
            series += _named(f"INVITE, 2 KB, {qop.decode()}", found)
    return Result("other-requests", "other methods, algorithms and qop", _CPU, series)


def no_decision(settings: Settings) -> Result:
    """Send what is not challenged: a method that is not listed, and one in a dialog."""
    servers: list[Server] = [
        Ours(settings.folder / "ours", USERS, settings.workers),
        Unprotected(settings.folder / "none", USERS, settings.workers),
    ]
    active = range(USERS)
    with beds(servers, active) as running:
        series = _named("OPTIONS", compare(running, Phones.options, active, settings))
        series += _named("BYE", compare(running, Phones.bye, active, settings))
    return Result("no-decision", "requests that need no decision", _CPU, series)


def floods(settings: Settings) -> Result:
    """Flood with REGISTERs without credentials, and with wrong passwords."""
    active = range(USERS)
    facts: dict[str, float | str] = {}
    with beds(_both(settings, "flood", USERS), active) as running:
        few = settings._replace(rounds=min(settings.rounds, 2 * USERS // settings.pairs))
        series: list[Series] = []
        for name, flood, size in (
            ("no credentials", Phones.knock, settings),
            ("wrong password", _wrong, few),
        ):
            used = [bed.server.used_shared_memory() for bed in running]
            series += _named(name, compare(running, flood, active, size))
            for bed, before in zip(running, used, strict=True):
                grown = (bed.server.used_shared_memory() - before) / 1024
                facts[f"shared memory, {name}, {bed.server.name}"] = (
                    f"{grown:+.0f} KiB after {size.rounds * size.pairs} conversations"
                )
        locked = range(10)
        for bed in running:
            bed.line.keep_busy(_wrong(bed.phones, [user for user in locked for _ in range(4)]), 1)
        series += _named("locked out", compare(running, _wrong, locked, settings))
    return Result("floods", "floods", _CPU, series, facts=facts)


def latency(settings: Settings) -> Result:
    """Find the latency of a REGISTER at half and nine tenths of the highest rate sustained."""
    active = range(USERS)
    series: list[Series] = []
    facts: dict[str, float | str] = {}
    with beds(_both(settings, "latency", USERS), active) as running:
        for bed in running:
            highest = _highest_rate(bed, active)
            facts[f"highest rate, {bed.server.name}"] = f"{highest:.0f} a second"
            for share in (0.5, 0.9):
                name = f"{bed.server.name}, {share:.0%}"
                found, lost = _latencies(bed, active, share * highest, settings)
                series += [Series(f"{name}, {each.name}", each.values) for each in found]
                facts[f"lost, {name}"] = lost
    return Result("latency", "latency of challenge and verify", "ms", series, facts=facts)


def wrong_passwords(settings: Settings) -> Result:
    """Register while some passwords are wrong."""
    active = range(USERS)
    series: list[Series] = []
    facts: dict[str, float | str] = {}
    for percent in (0, 10, 50):
        with beds(_both(settings, f"wrong{percent}", USERS), active) as running:
            mixed = _mixed(percent)
            # Everybody has two attempts, so that nobody is locked out.
            few = settings._replace(rounds=min(settings.rounds, 2 * USERS // settings.pairs - 4))
            found = compare(running, mixed, active, few)
            series += [Series(f"{each.name}, {percent} % wrong", each.values) for each in found]
            for bed in running:
                load = bed.line.keep_pace(mixed(bed.phones, active[: settings.pairs * 4]), 2000)
                facts[f"p99 at 2000 a second, {bed.server.name}, {percent} % wrong"] = (
                    f"{_quantile(load.latencies, 0.99):.2f} ms"
                )
    return Result("wrong-passwords", "wrong passwords", _CPU, series, facts=facts)


ROWS: dict[str, Callable[[Settings], Result]] = {
    "as-shipped": as_shipped,
    "storm": storm,
    "botnet": botnet,
    "registration": challenge_and_verify,
    "number-of-users": user_count,
    "number-of-ip-groups": ip_group_count,
    "other-requests": other_requests,
    "no-decision": no_decision,
    "floods": floods,
    "latency": latency,
    "import": importing,
    "reload": reloading,
    "wrong-passwords": wrong_passwords,
    "waiting-for-radius": waiting_for_radius,
    "cluster": cluster,
}
"""The rows by the names of what they measure."""


def _both(settings: Settings, name: str, users: int) -> list[Server]:
    return [
        Ours(settings.folder / f"ours-{name}", users, settings.workers),
        Native(settings.folder / f"native-{name}", users, settings.workers),
    ]


def _named(scenario: str, series: Iterable[Series]) -> list[Series]:
    return [Series(f"{scenario}: {each.name}", each.values) for each in series]


def _invite_with_body(qop: bytes) -> Callable[[Phones, Iterable[int]], Iterator[Start]]:
    return lambda phones, users: phones.invite(users, qop=qop, body=BODY)


def _wrong(phones: Phones, users: Iterable[int]) -> Iterator[Start]:
    return phones.register(users, wrong=lambda _: True)


def _mixed(percent: int) -> Callable[[Phones, Iterable[int]], Iterator[Start]]:
    """Return a scenario in which so many users have a wrong password, evenly spread."""
    return lambda phones, users: phones.register(users, wrong=lambda user: user % 10 < percent / 10)


def _highest_rate(bed: Bed, active: Sequence[int]) -> float:
    """Return the highest rate of conversations that begin by the clock and are all answered.

    It is looked for below the rate at which the server is never idle, to a 32nd of that.
    """
    load = bed.line.keep_busy(bed.phones.register(active))
    low, high = 0.0, len(active) / load.duration
    step = high / 32
    while high - low > step:
        rate = (low + high) / 2
        if _sustains(bed, active, rate):
            low = rate
        else:
            high = rate
    return low


def _sustains(bed: Bed, active: Sequence[int], rate: float) -> bool:
    load = bed.line.keep_pace(bed.phones.register(active[: int(rate)]), rate)
    return not load.lost and _quantile(load.latencies, 0.99) < _SUSTAINED


def _latencies(
    bed: Bed, active: Sequence[int], rate: float, settings: Settings
) -> tuple[list[Series], int]:
    """Return p50 and p99 (ms) of some rounds of a second, and how many requests were lost."""
    loads = [
        bed.line.keep_pace(bed.phones.register(active[: int(rate)]), rate)
        for _ in range(max(5, settings.rounds // 2))
    ]
    quantiles = {"p50": 0.5, "p99": 0.99}
    series = [
        Series(name, [_quantile(load.latencies, share) for load in loads])
        for name, share in quantiles.items()
    ]
    return series, sum(load.lost for load in loads)


def _quantile(seconds: Sequence[float], share: float) -> float:
    """Return a quantile, in milliseconds."""
    return sorted(seconds)[int(share * (len(seconds) - 1))] * 1000
