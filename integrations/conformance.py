"""What every integration must do, as tests to subclass. Needs pytest and pytest-asyncio.

Subclass the class of your protocol in a test module and give the fixtures its docstring names:

    class TestMyWarehouse(WarehouseConformance):
        @pytest.fixture
        async def warehouse(self):
            opened = MyWarehouse("here", MyOptions(...))
            await opened.open()
            yield opened
            await opened.close()

Every test runs against the real thing behind the fixture.
"""

# ruff: noqa: S101, PLR2004 - these are tests
from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from config.errors import ConflictError, SwarmError, UsageError
from integrations.base import (
    Catalog,
    Channel,
    Delivery,
    Integration,
    LineageSource,
    Message,
    Orchestrator,
    Profile,
    Repository,
    Statement,
    Warehouse,
)
from integrations.registry import misfits


def fits(integration: Integration, protocol: type[Any]) -> None:
    """Assert that an integration's class satisfies its protocol and the registry."""
    assert isinstance(integration, protocol)
    assert misfits(type(integration), type(integration).kind) == []
    assert integration.name


async def well(integration: Integration) -> None:
    """Assert that a working source is found well, and that opening and closing can be repeated."""
    await integration.open()
    findings = await integration.examine()
    assert findings
    assert all(f.what for f in findings)
    assert [f for f in findings if not f.ok] == []
    await integration.close()
    await integration.close()
    await integration.open()
    assert await integration.examine()


@pytest.mark.asyncio
class WarehouseConformance:
    """A warehouse.

    Fixtures: `warehouse`, opened, with an actor; `table`, `schema.name` of a table of at least three rows with a
    nullable column that holds a null; `write`, a statement that changes one row of `table` and no more.
    """

    async def test_fits_the_protocol(self, warehouse: Warehouse) -> None:
        """The class has every member the protocol names."""
        fits(warehouse, Warehouse)

    async def test_is_found_well(self, warehouse: Warehouse) -> None:
        """`examine` finds nothing wrong; open and close may be repeated."""
        await well(warehouse)

    async def test_catalog_names_the_table(self, warehouse: Warehouse, table: str) -> None:
        """The catalog holds the table with its columns, each once, in order."""
        catalog = await warehouse.catalog()
        assert isinstance(catalog, Catalog)
        found = {t.path: t for t in catalog.tables}
        assert len(found) == len(catalog.tables)
        positions = [c.position for c in found[table].columns]
        assert positions == list(range(1, len(positions) + 1))
        assert catalog.taken_at.tzinfo is not None

    async def test_fingerprint_stands_still(self, warehouse: Warehouse) -> None:
        """Two looks at the same catalog give one fingerprint."""
        assert (await warehouse.catalog()).fingerprint == (await warehouse.catalog()).fingerprint

    async def test_profile_counts(self, warehouse: Warehouse, table: str) -> None:
        """Rows and nulls are those a query counts."""
        profile = await warehouse.profile(table)
        assert isinstance(profile, Profile)
        counted = await warehouse.query(f"select count(*) as n from {warehouse.quote(*table.split('.', 1))}")
        assert profile.rows == counted[0]["n"] >= 3
        assert any(c.nulls for c in profile.columns.values())
        assert all(0 <= c.nulls <= profile.rows and c.sketch == () for c in profile.columns.values())

    async def test_profile_of_some_columns(self, warehouse: Warehouse, table: str) -> None:
        """Only the columns asked for are profiled."""
        name = next(iter((await warehouse.profile(table)).columns))
        assert list((await warehouse.profile(table, columns=[name])).columns) == [name]

    async def test_sketch_holds_no_values(self, warehouse: Warehouse, table: str) -> None:
        """A sketch has at most so many hashes, sorted, the same at every look, and no value in it."""
        profile = await warehouse.profile(table, sketch=2)
        again = await warehouse.profile(table, sketch=2)
        rows = await warehouse.query(f"select * from {warehouse.quote(*table.split('.', 1))}")
        for name, column in profile.columns.items():
            assert len(column.sketch) <= 2
            assert list(column.sketch) == sorted(set(column.sketch))
            assert column.sketch == again.columns[name].sketch
            assert not {str(r[name]) for r in rows} & set(column.sketch)

    async def test_query_takes_no_more_than_asked(self, warehouse: Warehouse, table: str) -> None:
        """`limit` bounds the rows, and the connection is usable afterwards."""
        query = f"select * from {warehouse.quote(*table.split('.', 1))}"
        assert len(await warehouse.query(query, limit=2)) == 2
        assert len(await warehouse.query(query)) >= 3

    async def test_query_is_read_only(self, warehouse: Warehouse, table: str, write: str) -> None:
        """A statement that writes is refused by `query`, alone or behind another, and nothing changes."""
        read = f"select * from {warehouse.quote(*table.split('.', 1))} order by 1"
        before = await warehouse.query(read)
        for sql in (write, f"select 1; {write}", f"commit; {write}"):
            with pytest.raises(SwarmError):
                await warehouse.query(sql)
        assert await warehouse.query(read) == before

    async def test_an_unknown_table_is_said_so(self, warehouse: Warehouse) -> None:
        """Asking for what is not there is an error of ours, naming the source."""
        for look in (warehouse.profile("no_such.table"), warehouse.query("select * from no_such_table_at_all")):
            with pytest.raises(SwarmError) as caught:
                await look
            assert warehouse.name in caught.value.message

    async def test_execute_counts_rows(self, warehouse: Warehouse, write: str) -> None:
        """`execute` returns the rows touched, and takes a lock by name."""
        assert await warehouse.execute([Statement(write, rows=1)], agent="conformance", lock="a lock") == [1]

    async def test_execute_is_all_or_nothing(self, warehouse: Warehouse, table: str, write: str) -> None:
        """Another count than expected is a ConflictError, and what came before is rolled back."""
        read = f"select * from {warehouse.quote(*table.split('.', 1))} order by 1"
        before = await warehouse.query(read)
        with pytest.raises(ConflictError):
            await warehouse.execute([Statement(write, rows=1), Statement(write, rows=2)], agent="conformance")
        with pytest.raises(SwarmError):
            await warehouse.execute([Statement(write), Statement("select * from no_such_table")], agent="conformance")
        assert await warehouse.query(read) == before

    async def test_quote_makes_any_name_harmless(self, warehouse: Warehouse) -> None:
        """A quoted name is one name, whatever is in it."""
        for name in ('"; drop table x', "a.b", "Ünï", "select", "100%"):
            rows = await warehouse.query(f"select 1 as {warehouse.quote(name)}")
            assert rows == [{name: 1}]


@pytest.mark.asyncio
class LineageConformance:
    """A source of lineage. Fixture: `lineage`, of something with at least one edge."""

    async def test_edges_lead_from_made_to_maker(self, lineage: LineageSource) -> None:
        """Edges are distinct, lead from one asset to another, and never in a circle."""
        edges = await lineage.edges()
        assert edges
        assert all(e.upstream != e.downstream for e in edges)
        assert len(set(edges)) == len(edges)
        below: dict[str, set[str]] = {}
        for edge in edges:
            below.setdefault(str(edge.upstream), set()).add(str(edge.downstream))
        for start, nearest in below.items():
            seen: set[str] = set()
            wave = set(nearest)
            while wave:
                seen |= wave
                wave = {d for node in wave for d in below.get(node, ())} - seen
            assert start not in seen

    async def test_edges_stand_still(self, lineage: LineageSource) -> None:
        """Two looks give the same edges."""
        assert set(await lineage.edges()) == set(await lineage.edges())

    async def test_assets_survive_being_written_down(self, lineage: LineageSource) -> None:
        """Every asset can be read back from its reference."""
        for edge in await lineage.edges():
            for asset in (edge.upstream, edge.downstream):
                assert type(asset).parse(str(asset)) == asset


@pytest.mark.asyncio
class OrchestratorConformance:
    """An orchestrator.

    Fixtures: `orchestrator`, opened, of a project built once by its team; `buildable`, the id of a node that can be
    built and has something downstream; `footprint`, a function returning what of the team's must not change by a
    build of the swarm (a hash of its artefacts, say).
    """

    async def test_fits_the_protocol(self, orchestrator: Orchestrator) -> None:
        """The class has every member the protocol names."""
        fits(orchestrator, Orchestrator)

    async def test_is_found_well(self, orchestrator: Orchestrator) -> None:
        """`examine` finds nothing wrong; open and close may be repeated."""
        await well(orchestrator)

    async def test_project_hangs_together(self, orchestrator: Orchestrator, buildable: str) -> None:
        """Nodes stand under their ids, and what they depend on is there."""
        project = await orchestrator.project()
        assert project.warehouse
        assert all(key == node.id for key, node in project.nodes.items())
        assert all(d in project.nodes for node in project.nodes.values() for d in node.depends_on)
        below = project.downstream(buildable)
        assert below
        assert buildable not in below
        assert all(buildable in project.upstream(node) for node in below)

    async def test_last_run_is_of_this_project(self, orchestrator: Orchestrator) -> None:
        """The team's run names nodes of the project, and is the same at the next look."""
        run = await orchestrator.last_run()
        assert run is not None
        assert run.id
        assert run.finished_at.tzinfo is not None
        assert {r.node for r in run.results} <= set((await orchestrator.project()).nodes)
        assert await orchestrator.last_run() == run

    async def test_staleness_names_sources(self, orchestrator: Orchestrator) -> None:
        """Whatever freshness is reported is of nodes of the project."""
        nodes = (await orchestrator.project()).nodes
        assert all(s.node in nodes for s in await orchestrator.staleness())

    async def test_nothing_runs(self, orchestrator: Orchestrator) -> None:
        """No run of the team is in flight."""
        assert await orchestrator.is_running() is False

    async def test_build_is_its_own(
        self, orchestrator: Orchestrator, buildable: str, footprint: Callable[[], object]
    ) -> None:
        """A build is a run of its own over what was named, and leaves the team's artefacts alone."""
        before, team = footprint(), await orchestrator.last_run()
        run = await orchestrator.build([buildable], label="conformance")
        assert run.is_clean
        assert buildable in {r.node for r in run.results}
        assert team is not None
        assert run.id != team.id
        assert footprint() == before
        assert await orchestrator.last_run() == team

    async def test_build_downstream(self, orchestrator: Orchestrator, buildable: str) -> None:
        """`id+` builds everything made from the node as well, into scratch."""
        run = await orchestrator.build([f"{buildable}+"], scratch=True, label="conformance")
        assert run.is_clean
        project = await orchestrator.project()
        wanted = {n for n in project.downstream(buildable) if project.nodes[n].kind not in ("exposure", "source")}
        assert {r.node for r in run.results} >= wanted | {buildable}

    async def test_nonsense_is_refused(self, orchestrator: Orchestrator) -> None:
        """What is no node, or none at all, is an error and not an empty run."""
        for select in ([], ["no such node"], ["model.nobody.knows_this"]):
            with pytest.raises(SwarmError):
                await orchestrator.build(select)


@pytest.mark.asyncio
class RepositoryConformance:
    """A repository. Fixtures: `repository`, opened; `path`, of a text file at its head."""

    async def test_fits_the_protocol(self, repository: Repository) -> None:
        """The class has every member the protocol names."""
        fits(repository, Repository)

    async def test_is_found_well(self, repository: Repository) -> None:
        """`examine` finds nothing wrong; open and close may be repeated."""
        await well(repository)

    async def test_reads(self, repository: Repository, path: str) -> None:
        """A file reads the same with and without the head's id; one that is not there is None."""
        head = await repository.head()
        assert await repository.read(path) == await repository.read(path, revision=head)
        assert await repository.read("no/such.file") is None
        assert await repository.contains(head)

    async def test_proposes_once(self, repository: Repository, path: str) -> None:
        """A proposal changes its branch alone; made again it is the same commit; other content conflicts."""
        base = await repository.head()
        changes = {path: "changed\n", "new/deep/file.sql": "select 'ü'\n"}
        commit = await repository.propose("swarm/once", base, changes, "Change it")
        assert await repository.propose("swarm/once", base, changes, "Change it") == commit
        assert await repository.head() == base
        assert not await repository.contains(commit)
        assert {p: await repository.read(p, revision=commit) for p in changes} == changes
        with pytest.raises(ConflictError):
            await repository.propose("swarm/once", base, {path: "something else\n"}, "Change it")

    async def test_merges_and_takes_back(self, repository: Repository, path: str) -> None:
        """Merged, production holds it; taken back, it holds what it held; both may be repeated."""
        base = await repository.head()
        before = await repository.read(path)
        commit = await repository.propose("swarm/round", base, {path: "merged\n"}, "Merge me")
        merged = await repository.merge(commit, expected=base)
        assert await repository.merge(commit, expected=base) == merged == await repository.head()
        assert await repository.contains(commit)
        assert await repository.read(path) == "merged\n"
        undone = await repository.revert(commit, "Take it back")
        assert await repository.revert(commit, "Take it back") == undone == await repository.head()
        assert await repository.read(path) == before

    async def test_merges_only_onto_what_it_saw(self, repository: Repository, path: str) -> None:
        """Where production has moved, merging is a ConflictError and changes nothing; looked at anew, it merges."""
        base = await repository.head()
        first = await repository.propose("swarm/first", base, {"first.txt": "1\n"}, "First")
        second = await repository.propose("swarm/second", base, {path: "second\n"}, "Second")
        moved = await repository.merge(first, expected=base)
        with pytest.raises(ConflictError):
            await repository.merge(second, expected=base)
        assert await repository.head() == moved
        await repository.merge(second, expected=moved)
        assert await repository.read("first.txt") == "1\n"
        assert await repository.read(path) == "second\n"

    async def test_checks_out(self, repository: Repository, path: str) -> None:
        """A checkout holds the revision, is made once, and is apart from that of another."""
        head = await repository.head()
        commit = await repository.propose("swarm/checkout", head, {path: "elsewhere\n"}, "Elsewhere")
        one, other = await repository.checkout(head), await repository.checkout(commit)
        assert one != other
        assert (one / path).read_text() == await repository.read(path)
        assert (other / path).read_text() == "elsewhere\n"
        assert await repository.checkout(commit) == other

    async def test_stays_inside(self, repository: Repository) -> None:
        """Paths that lead out of the repository are refused, to read and to write."""
        head = await repository.head()
        for bad in ("../outside", "/etc/passwd", "a/../../b", ".git/config", "a/.GIT/hooks/x", "", "a//b", "a\0b"):
            with pytest.raises(UsageError):
                await repository.read(bad)
            with pytest.raises(UsageError):
                await repository.propose("swarm/bad", head, {bad: "x"}, "Bad")
        assert isinstance(repository.url_of(head), str)


@pytest.mark.asyncio
class ChannelConformance:
    """A channel.

    Fixtures: `channel`, opened; `inbox`, an async function returning the texts that have arrived so far; `deaf`, a
    channel whose other side is not there.
    """

    async def test_fits_the_protocol(self, channel: Channel) -> None:
        """The class has every member the protocol names."""
        fits(channel, Channel)

    async def test_is_found_well(self, channel: Channel) -> None:
        """`examine` finds nothing wrong; open and close may be repeated."""
        await well(channel)

    async def test_delivers(self, channel: Channel, inbox: Callable[[], Awaitable[Sequence[str]]]) -> None:
        """Title, body and link arrive; a message about a demo says so."""
        body = "**Rows** are missing: 12 % of `orders`, ü"
        link = "https://swarm.example/incidents/7"
        delivery = await channel.send(Message("escalation", "Orders are short", body, 7, link, demo=True))
        assert delivery == Delivery(ok=True)
        arrived = "".join(await inbox())
        for word in ("Orders are short", "Rows", "12 %", "orders", "ü", link):
            assert word in arrived
        assert "demo" in arrived.lower()

    async def test_refusal_is_an_answer(self, deaf: Channel) -> None:
        """Nobody there is a delivery to be tried again, and never an exception."""
        delivery = await deaf.send(Message("info", "title", "body"))
        assert not delivery.ok
        assert delivery.retry
        assert delivery.error


__all__ = [
    "ChannelConformance",
    "LineageConformance",
    "OrchestratorConformance",
    "RepositoryConformance",
    "WarehouseConformance",
]
