"""The measurements, one function each: it asks one contender once and notes the figures."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from benchmarks.coordination.actors import Actor, AskedInVainError
from benchmarks.coordination.contenders import OURS, PLAIN, Contender
from benchmarks.coordination.ground import Ground
from benchmarks.coordination.targets import DOCUMENTED_RECOVERY, FIFTEEN, IN_TRANSACTION, WRITERS
from benchmarks.figures import percentile
from benchmarks.progress import say
from benchmarks.report import Row

AGENTS = 15
FLOOD_WRITERS = 8
WARM_PICKUPS = 20
CHEAP = 100_000  # peers are not asked to have more finished tasks behind them
RECOVERY_SECONDS = 75.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything; counts of tasks or events, seconds where it says so."""

    rounds: int
    single: int
    batch: int
    drain: int
    drain_aged: int
    drain_pinned: int
    pickups: int
    publish_seconds: float
    flood: int
    paced: int
    takeovers: int
    finished: tuple[int, ...]
    at_once: int = 1000
    pickup_gap: float = 0.02


FULL = Sizes(
    rounds=3, single=2000, batch=100_000, drain=50_000, drain_aged=30_000, drain_pinned=50_000, pickups=420,
    publish_seconds=3.0, flood=6000, paced=200, takeovers=3, finished=(10_000, 100_000, 1_000_000),
)  # fmt: skip
QUICK = Sizes(
    rounds=1, single=300, batch=5000, drain=5000, drain_aged=4000, drain_pinned=8000, pickups=80,
    publish_seconds=0.6, flood=800, paced=40, takeovers=1, finished=(10_000,),
)  # fmt: skip
TINY = Sizes(
    rounds=1, single=20, batch=1000, drain=300, drain_aged=300, drain_pinned=300, pickups=25,
    publish_seconds=0.1, flood=50, paced=5, takeovers=0, finished=(),
)  # fmt: skip


@dataclass(slots=True)
class Session:
    """What every measurement needs, and where figures go.

    Attributes:
        out: (measure, contender) → why it takes no further part.
        limits: metric → figures of what is possible at all.
    """

    ground: Ground
    sizes: Sizes
    peers: Sequence[Contender]
    rows: Mapping[str, Row]
    out: dict[tuple[str, str], str] = field(default_factory=dict)
    limits: dict[str, list[float]] = field(default_factory=dict)

    def scaled(self, contender: Contender, count: int) -> int:
        """How many for this contender; slow ones get fewer."""
        return max(int(count * contender.slow), min(count, 20))

    @asynccontextmanager
    async def ready(self, contender: Contender) -> AsyncIterator[Actor]:
        """One process of it, connected to a fresh database."""
        async with self.ground.fresh(contender) as database, self.joined(contender, database) as actor:
            yield actor

    @asynccontextmanager
    async def joined(self, contender: Contender, database: str) -> AsyncIterator[Actor]:
        """A process of it, connected to this database."""
        async with self.ground.actor(contender, database) as actor:
            await actor.ask("open", within=60)
            yield actor


async def single(session: Session, contender: Contender) -> None:
    """Enqueue one after another, each awaited."""
    count = session.scaled(contender, session.sizes.single)
    async with session.ready(contender) as actor:
        seconds = (await actor.ask("single", count=count))["seconds"]
    session.rows["enqueue_single"].add(contender.name, count / seconds)


async def batch(session: Session, contender: Contender) -> None:
    """Enqueue a thousand at a time."""
    count = session.scaled(contender, session.sizes.batch)
    async with session.ready(contender) as actor:
        seconds = (await actor.ask("batch", count=count, size=session.sizes.at_once))["seconds"]
    session.rows["enqueue_batch"].add(contender.name, count / seconds)


async def _drained(session: Session, actor: Actor, count: int, fill: str = "fill") -> float:
    """Fill, settle, work off; tasks a second."""
    await actor.ask(fill, count=count, size=session.sizes.at_once)
    await asyncio.to_thread(session.ground.settle)
    answer = await actor.ask("drain", count=count)
    if answer["handled"] != count:
        raise AskedInVainError(f"{answer['handled']} handlers began for {count} tasks")
    return float(count / answer["seconds"])


async def drain(session: Session, contender: Contender) -> None:
    """Work off a backlog with one worker process."""
    count = session.scaled(contender, session.sizes.drain)
    async with session.ready(contender) as actor:
        session.rows["drain"].add(contender.name, await _drained(session, actor, count))


async def drain_marked(session: Session, contender: Contender) -> None:
    """The same with key, subject and limit in use; beside a plain one of the same size."""
    count = session.sizes.drain_aged
    async with session.ready(contender) as actor:
        plain = await _drained(session, actor, count)
    async with session.ready(contender) as actor:
        everything = await _drained(session, actor, count, "marked")
    session.rows["drain_marked"].add(contender.name, everything)
    session.rows["drain_marked_share"].add(contender.name, everything / plain)


async def pickup(session: Session, contender: Contender) -> None:
    """One process enqueues at leisure, another waits."""
    count = session.sizes.pickups
    async with (
        session.ground.fresh(contender) as database,
        session.joined(contender, database) as worker,
        session.joined(contender, database) as sender,
    ):
        await worker.ask("work", within=60)
        sent = (await sender.ask("send", count=count, gap=session.sizes.pickup_gap))["times"]
        seen = (await worker.ask("picked", count=count, within=60))["times"]
    waits = [(seen[number] - at) / 1e6 for number, at in sent.items() if int(number) >= WARM_PICKUPS]
    session.rows["pickup_p50"].add(contender.name, percentile(waits, 0.5))
    session.rows["pickup_p99"].add(contender.name, percentile(waits, 0.99))


async def publish(session: Session, contender: Contender) -> None:
    """Many writers publish, and there is somebody to wake: one listener, and in one row fifteen agents."""
    seconds = session.sizes.publish_seconds

    @asynccontextmanager
    async def heard_by(agents: int) -> AsyncIterator[Callable[[int, str], Awaitable[float]]]:
        async with (
            session.ground.fresh(contender) as database,
            session.ground.actor(contender, database) as listener,
            session.ground.actor(contender, database) as writer,
        ):
            await listener.ask("listen", agents=agents, reads=False, within=60)

            async def rate(writers: int, way: str) -> float:
                return float((await writer.ask("publish", writers=writers, seconds=seconds, way=way))["per_second"])

            yield rate

    most = WRITERS[-1]
    name, way = (IN_TRANSACTION, "notify") if contender is PLAIN else (contender.name, "grouped")
    async with heard_by(1) as rate:
        for writers in WRITERS:
            session.rows[f"publish_{writers}"].add(name, await rate(writers, way))
            if contender is PLAIN:
                session.limits.setdefault(f"publish_{writers}", []).append(await rate(writers, "insert only"))
        if contender is not PLAIN:
            session.rows["publish_apart"].add(name, await rate(most, "apart"))
    async with heard_by(AGENTS) as rate:
        session.rows["publish_swarm"].add(name, await rate(most, way))


async def fanout(session: Session, contender: Contender) -> None:
    """Fifteen agents in one process each read everything that eight writers in another publish."""
    name = FIFTEEN if contender is PLAIN else contender.name
    for metric in ("fanout", "fanout_p50"):
        async with (
            session.ground.fresh(contender) as database,
            session.ground.actor(contender, database) as agents,
            session.ground.actor(contender, database) as writer,
        ):
            await agents.ask("listen", agents=AGENTS, reads=True, within=60)
            if metric == "fanout":
                count = session.sizes.flood
                began = (await writer.ask("flood", count=count, writers=FLOOD_WRITERS))["began"]
                heard = (await agents.ask("heard", count=count))["times"]
                session.rows[metric].add(name, count / ((max(heard.values()) - began) / 1e9))
            else:
                count = session.sizes.paced
                sent = (await writer.ask("pace", count=count, gap=session.sizes.pickup_gap))["times"]
                heard = (await agents.ask("heard", count=count))["times"]
                waits = [(heard[number] - at) / 1e6 for number, at in sent.items()]
                session.rows[metric].add(name, percentile(waits, 0.5))


async def pinned(session: Session, contender: Contender) -> None:
    """Work off a backlog while somebody holds xmin back; beside one without."""
    count = session.scaled(contender, session.sizes.drain_pinned)
    async with session.ready(contender) as actor:
        free = await _drained(session, actor, count)
    async with (
        session.ground.fresh(contender) as database,
        session.ground.pinned(database),
        session.joined(contender, database) as actor,
    ):
        held = await _drained(session, actor, count)
    session.rows["drain_pinned"].add(contender.name, held / free)


async def aged(session: Session, contenders: Sequence[Contender]) -> None:
    """Work off a backlog with ever more finished tasks about; the databases are kept, the rounds interleaved."""
    levels = session.sizes.finished
    async with AsyncExitStack() as stack:
        places: dict[tuple[Contender, int], str] = {}
        for contender in contenders:
            for level in levels:
                database = await _aged_place(session, stack, contender, level)
                if database is not None:
                    places[contender, level] = database
        for turn in range(session.sizes.rounds):
            rates: dict[tuple[Contender, int], float] = {}
            order = list(places)
            if not order:
                break
            for contender, level in order[turn % len(order) :] + order[: turn % len(order)]:
                rate = await _aged_rate(session, contender, level, places[contender, level])
                if rate is None:
                    del places[contender, level]
                else:
                    rates[contender, level] = rate
            for contender in contenders:
                known = [rates[contender, level] for level in levels if (contender, level) in rates]
                if len(known) == len(levels) > 1:
                    session.rows["drain_flat"].add(contender.name, known[-1] / known[0])


async def _aged_place(session: Session, stack: AsyncExitStack, contender: Contender, level: int) -> str | None:
    """A database with so many finished tasks, kept as long as the stack; None where it is not to be had."""
    row = session.rows[f"drain_after_{level}"]
    if contender is not OURS and (level > CHEAP or contender.name == "dbos"):
        row.skipped[contender.name] = "not cheap to prepare"
        return None
    database = await stack.enter_async_context(session.ground.fresh(contender))
    try:
        async with session.joined(contender, database) as actor:
            await actor.ask("age", count=level)
        await asyncio.to_thread(session.ground.tend, database)
    except AskedInVainError as error:
        row.skipped[contender.name] = str(error)
        return None
    return database


async def _aged_rate(session: Session, contender: Contender, level: int, database: str) -> float | None:
    """One drain there, noted; None where it went wrong."""
    row = session.rows[f"drain_after_{level}"]
    count = session.scaled(contender, session.sizes.drain_aged)
    try:
        async with session.joined(contender, database) as actor:
            rate = await _drained(session, actor, count)
    except AskedInVainError as error:
        row.samples.pop(contender.name, None)
        row.skipped[contender.name] = str(error)
        return None
    row.add(contender.name, rate)
    return rate


async def takeover(session: Session, contenders: Sequence[Contender]) -> None:
    """A worker is killed in the middle of a task, another waits beside it; all at the same time: they only sleep."""

    async def once(contender: Contender, turn: int) -> None:
        if contender.name in DOCUMENTED_RECOVERY:
            session.rows["takeover"].skipped[contender.name] = DOCUMENTED_RECOVERY[contender.name]
            return
        try:
            async with (
                session.ground.fresh(contender) as database,
                session.joined(contender, database) as victim,
                session.joined(contender, database) as heir,
            ):
                await heir.ask("fill", count=1, size=1)
                await victim.ask("hold", within=60)
                await heir.ask("work", within=60)
                # Somewhere between two heartbeats, and not always at the same place.
                await asyncio.sleep(random.Random(turn).uniform(0.0, 5.0))
                victim.kill()
                killed = asyncio.get_running_loop().time()
                seen = (await heir.ask("picked", count=1, within=RECOVERY_SECONDS))["times"]
                session.rows["takeover"].add(contender.name, next(iter(seen.values())) / 1e9 - killed)
        except AskedInVainError as error:
            session.rows["takeover"].skipped[contender.name] = str(error)

    await asyncio.gather(
        *(once(contender, turn) for turn in range(session.sizes.takeovers) for contender in contenders)
    )


async def drain_announced(session: Session, contender: Contender) -> None:
    """The same, each finished task publishing an event."""
    async with session.ready(contender) as actor:
        rate = await _drained(session, actor, session.sizes.drain_aged, "announced")
    session.rows["drain_announced"].add(contender.name, rate)


Take = Callable[[Session, Contender], Awaitable[None]]
TakeAll = Callable[[Session, Sequence[Contender]], Awaitable[None]]
# Name → how it is taken, and the rows it fills.
BY_TURNS: Mapping[str, tuple[Take, tuple[str, ...]]] = {
    "enqueue_single": (single, ("enqueue_single",)),
    "enqueue_batch": (batch, ("enqueue_batch",)),
    "drain": (drain, ("drain",)),
    "drain_announced": (drain_announced, ("drain_announced",)),
    "drain_marked": (drain_marked, ("drain_marked", "drain_marked_share")),
    "pickup": (pickup, ("pickup_p50", "pickup_p99")),
    "publish": (publish, (*(f"publish_{writers}" for writers in WRITERS), "publish_swarm", "publish_apart")),
    "fanout": (fanout, ("fanout", "fanout_p50")),
    "drain_pinned": (pinned, ("drain_pinned",)),
}
AT_ONCE: Mapping[str, TakeAll] = {"drain_after": aged, "takeover": takeover}
NAMES = (*BY_TURNS, *AT_ONCE)


def who(session: Session, name: str) -> list[Contender]:
    """Who is asked for a measurement."""
    match name:
        case "drain_announced" | "drain_marked":
            return [OURS]
        case "publish" | "fanout":
            return [OURS, PLAIN]
        case "drain_pinned":
            return [OURS, *(peer for peer in session.peers if peer.slow == 1.0)]
        case _:
            return [OURS, *session.peers]


async def take(session: Session, name: str) -> None:
    """All rounds of one measurement, the contenders in turns, another first each time."""
    contenders = who(session, name)
    if name in AT_ONCE:
        await AT_ONCE[name](session, contenders)
        return
    ask, metrics = BY_TURNS[name]
    for turn in range(session.sizes.rounds):
        for contender in contenders[turn % len(contenders) :] + contenders[: turn % len(contenders)]:
            if (name, contender.name) in session.out:
                continue
            try:
                await ask(session, contender)
            except AskedInVainError as error:
                say(f"  {contender.name} is left out of {name}: {error}")
                session.out[name, contender.name] = str(error)
                for row in (session.rows[metric] for metric in metrics):
                    row.samples.pop(contender.name, None)
                    row.skipped[contender.name] = str(error)
