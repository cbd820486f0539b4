"""What is asked of every target. Times in seconds; what a model's name means is said in programs/mock.c."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import monotonic_ns

from tests.bench.targets.target import Target

# Turns of so many conversations, one after the other: contexts are loaded, not only looked for.
SESSIONS = 1000


def kind_of(name: str) -> str:
    """The name of the workload that the one of this *name* is a kind of, and is measured beside: its own of most."""
    return name.split(maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class Workload:
    """*clients* begin within *ramp*, then *warm*, then *seconds* are measured, then *drain* for what still runs.

    *expected* content events an answer (None: whatever comes), *rate* requests a second in the open loop (0: closed),
    *requests* in all (0: as many as there is time for), *leave_after* events the client is gone, *slow* bytes a second
    it reads; *first_session* keeps the sessions of workloads apart; *conversations* of them have had *turns* each
    before it is measured.
    """

    name: str
    what: str
    model: str
    clients: int
    seconds: float = 3
    ramp: float = 0.2
    warm: float = 0.8
    drain: float = 5
    expected: int | None = None
    rate: float = 0
    stream: bool = True
    first_session: int = 0
    headers: tuple[str, ...] = ()
    leave_after: int | None = None
    slow: float = 0
    requests: int = 0
    new_sessions: bool = False
    conversations: int = SESSIONS
    turns: int = 1

    @property
    def paced(self) -> bool:
        """Whether the upstream or the clock sets the pace, not the proxy."""
        return "-r" in self.model or self.rate > 0

    @property
    def sessions(self) -> int:
        """How many take turns: more than are answered at once, for turns of one session wait for each other.

        0: each request is the first of its session.
        """
        return 0 if self.new_sessions else max(self.conversations, 2 * self.clients)

    def arguments(self, target: Target) -> list[str]:
        """The command line of load.c against *target*, without the program."""
        numbers = {
            "-c": self.clients,
            "-r": self.ramp,
            "-w": self.warm,
            "-d": self.seconds,
            "-D": self.drain,
            "-R": self.rate or None,
            "-e": self.expected,
            "-i": self.sessions,
            # No later run asks in these again.
            "-I": monotonic_ns() // 1000 if self.new_sessions else self.first_session,
            "-a": self.leave_after,
            "-s": self.slow or None,
            "-n": self.requests or None,
            "-B": 4096 if self.slow else None,
        }
        words = [word for option, value in numbers.items() if value is not None for word in (option, str(value))]
        words += [] if self.stream else ["-W"]
        words += [word for header in (*target.headers, *self.headers) for word in ("-H", header)]
        words += ["-p", ",".join(map(str, target.pids))] if target.pids else []
        return [*words, str(target.port), self.model]

    def first_turns(self) -> Workload:
        """Short turns in each of its sessions, so that there is a context to load."""
        return replace(
            W1,
            seconds=120,
            ramp=0,
            warm=0,
            requests=self.turns * self.sessions,
            conversations=self.conversations,
            first_session=self.first_session,
        )

    def in_round(self, number: int) -> Workload:
        """The same in sessions that no other round uses.

        Why: each turn makes a context longer and the next one dearer, by half after sixty turns. Rounds in the same
        sessions would not do the same work.
        """
        return replace(self, first_session=self.first_session + number * self.sessions)

    def shorter(self, factor: float) -> Workload:
        """The same with a window *factor* times as long."""
        return replace(self, seconds=self.seconds * factor)


W1 = Workload("W1", "20-event streams, unpaced, 32 at once", "bench-n20", 32, expected=20, first_session=1_000_000)
W2 = Workload("W2", "2,000-event streams, unpaced, 8 at once", "bench-n2000", 8, expected=2000, first_session=2_000_000)
W2W = Workload(
    "W2w",
    "the same, each event a write of its own",
    "bench-n2000-w1",
    8,
    expected=2000,
    first_session=3_000_000,
)
W3 = Workload(
    "W3",
    "500 streams of 40 events a second",
    "bench-n200-r40",
    500,
    seconds=6,
    ramp=5,
    warm=1,
    drain=7,
    expected=200,
    first_session=4_000_000,
)
W5 = Workload("W5", "no stream, 32 at once", "bench", 32, stream=False, first_session=5_000_000)
FIRST = Workload(
    "first event",
    "100 requests a second, 20-event streams: time to the first event",
    "bench-n20",
    500,
    seconds=5,
    expected=20,
    rate=100,
    drain=5,
    first_session=6_000_000,
)
RESUMABLE = replace(
    W3, name="W3 resumable", what="W3 with X-Resumable: 1", headers=("X-Resumable: 1",), first_session=7_000_000
)
LASTING = replace(
    W3,
    name="W3 lasting",
    what="W3 with answers that outlast the measurement: no request begins or ends in it",
    model="bench-n2000-r40",
    expected=2000,
    drain=0,
    first_session=12_000_000,
)
W1_DOUBLED = replace(
    W1,
    name="W1 doubled",
    what="W1, 64 at once: each of two workers has as many as one had",
    clients=64,
    first_session=13_000_000,
)
LONG = replace(
    W1,
    name="W1 long conversations",
    what="W1, in sessions that have had fifty turns",
    conversations=250,
    turns=50,
    first_session=14_000_000,
)
NEW_SESSIONS = replace(W1, name="W1 new sessions", what="W1, each request the first of its session", new_sessions=True)
SMALL_W3 = replace(W3, name="W3", what="50 streams of 40 events a second", clients=50, ramp=2, seconds=4)
LEAVING = Workload(
    "leaving",
    "20 clients who leave after 5 events, again and again",
    "bench-n200-r40",
    20,
    leave_after=5,
    first_session=8_000_000,
)
SLOW = Workload(
    "slow readers",
    "20 clients that read 1 kB/s of endless answers",
    "bench-n999999",
    20,
    seconds=20,
    warm=2,
    drain=0,
    slow=1000,
    first_session=9_000_000,
)


def idle_streams(count: int, target: Target) -> Workload:
    """*count* streams open at once with one event a second each; let in no faster than *target* can."""
    ramp = max(3.0, count * target.millis * 1.5 / 1000)
    model = f"bench-n{int(ramp) + 60}-r1"
    return Workload("memory", f"{count:,} open streams", model, count, 3, ramp, 3, 0, first_session=10_000_000)


def many_streams(count: int, target: Target) -> Workload:
    """A point of the curve: *count* streams of 10 events a second."""
    ramp = max(2.0, count * target.millis * 3 / 1000)
    return Workload(
        "curve",
        f"{count:,} streams of 10 events a second",
        "bench-n100-r10",
        count,
        5,
        ramp,
        2,
        0,
        expected=100,
        first_session=11_000_000,
    )
