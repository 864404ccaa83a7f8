"""Commands that only look: status, incidents, show."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from dataswarm.commands.shared import AsJson, ConfigFile, Desk, at_desk, command
from dataswarm.rendering import Page, ago, answer, moment, share


def add(app: typer.Typer) -> None:
    """Hang the commands into the program."""

    @command(app, "status", "dataswarm status", "dataswarm status --json")
    def status(as_json: AsJson = False, config: ConfigFile = None) -> None:
        """Who is at work, what is open, what waits for you, and what holds the swarm back."""
        from dataswarm import views  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            return await views.status(desk.database, desk.settings)

        found = at_desk(config, work)
        answer(found, as_json=as_json, show=lambda page: show_status(page, found))

    @command(app, "incidents", "dataswarm incidents", "dataswarm incidents --all --limit 20 --json")
    def incidents(
        everything: Annotated[bool, typer.Option("--all", help="Those of the past too.")] = False,
        limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 50,
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Open incidents, the newest first."""
        from dataswarm import views  # noqa: PLC0415 - see the package

        async def work(desk: Desk) -> dict[str, Any]:
            found = await views.incident_list(desk.database, everything=everything, limit=limit)
            return {"source": desk.source, "incidents": found}

        found = at_desk(config, work)
        answer(found, as_json=as_json, show=lambda page: show_incidents(page, found["incidents"], everything))

    @command(app, "show", "dataswarm show 12", "dataswarm show 12 --json")
    def show(
        id: Annotated[int, typer.Argument(metavar="ID", min=1, help="The incident.")],  # noqa: A002
        as_json: AsJson = False,
        config: ConfigFile = None,
    ) -> None:
        """Everything about one incident: timeline, diagnoses, remedies with their diff, and what policy said."""
        from dataswarm import operations, views  # noqa: PLC0415 - see the package
        from dataswarm.commands.incident_page import show_incident  # noqa: PLC0415

        async def work(desk: Desk) -> dict[str, Any]:
            found = await views.incident(desk.database, id)
            if found is None:
                raise await operations.unknown_incident(desk.database, id)
            return {"source": desk.source, **found}

        found = at_desk(config, work)
        answer(found, as_json=as_json, show=lambda page: show_incident(page, found))


def show_status(page: Page, found: dict[str, Any]) -> None:
    """The state of the swarm on a page."""
    if found["kill_switch"] is not None:
        page.line(f"KILL SWITCH ON: {found['kill_switch']} (`dataswarm kill-switch off`)", style="bold red")
    page.title("Agents")
    if not found["agents"]:
        page.line("none has ever run here; start one with `dataswarm up`")
    page.table(
        ("agent", "up", "process", "heartbeat", "behind"),
        [(a["agent"], _up(a), a["process"], ago(a["heartbeat_age_seconds"]), a["lag"]) for a in found["agents"]],
    )
    for agent in found["agents"]:
        if said := agent["switched_off"]:
            page.line(
                f"{agent['agent']} was switched off by {said['by']}, {moment(said['at'])}: {said['reason']}"
                f" (`dataswarm agents enable {agent['agent']} --reason …`)",
                style="yellow",
            )
    _show_processes(page, found["processes"])
    if found["tasks"]:
        page.title("Tasks")
        rows = [(t["agent"], t["kind"], t["state"], t["count"], ago(t["oldest_seconds"])) for t in found["tasks"]]
        page.table(("agent", "kind", "state", "count", "oldest"), rows)
    _show_coordination(page, found["coordination"])
    page.title("Incidents")
    show_incidents(page, found["incidents"], everything=False)
    _show_waiting(page, found)
    _show_restraints(page, found)
    every = found["ratio"]["all"]
    page.line()
    if every["final"]:
        recent = ", ".join(f"{name} {share(r['ratio'])}" for name, r in found["ratio"].items() if r["final"])
        page.line(f"Resolved by the swarm alone: {every['auto']} of {every['final']} ({recent})")
    else:
        page.line("No incident has come to its end yet, so there is no auto-resolution ratio.")


def _up(agent: dict[str, Any]) -> str:
    if not agent["enabled"]:
        return "disabled"
    return "yes" if agent["is_up"] else "no"


def _show_processes(page: Page, processes: list[dict[str, Any]]) -> None:
    if not processes:
        return
    page.title("Processes")
    rows = [
        (
            f"{p['host']}:{p['pid']}",
            p["version"],
            p["config_fingerprint"] + (" (differs)" if p["differs"] else ""),
            ", ".join(p["agents"]),
            ago(p["silent_seconds"]),
        )
        for p in processes
    ]
    page.table(("process", "version", "configuration", "agents", "last seen"), rows)
    if any(p["differs"] for p in processes):
        page.line("The processes do not run with the same configuration.", style="yellow")


def _show_coordination(page: Page, found: dict[str, Any]) -> None:
    """Figures where a process reports some, and everything that is wrong."""
    for trouble in found["troubles"]:
        page.line()
        page.line(f"DATABASE: {trouble['what']}", style="bold yellow")
        page.line(f"  → {trouble['hint']}")
    for process in found["deaf"]:
        page.line()
        page.line(f"No notification reaches {process}: it works by polling, slower but complete.", style="yellow")
        page.line("  → set database.listen_url to a direct address, past a transaction pooler")
    page.title("Coordination")
    rows = [
        (name, measured["number"], _at_most(measured["p50"]), _at_most(measured["p99"]))
        for name, measured in (("claim", found["claim_seconds"]), ("pickup", found["pickup_seconds"]))
        if measured["number"]
    ]
    page.table(("", "measured", "half within", "99 % within"), rows)
    page.line(
        f"leases lost {found['leases_lost']}, agents lost {found['agent_leases_lost']}, retries {found['retried']};"
        f" NOTIFY gaps {found['gaps']}, catch-ups {found['catch_ups']}"
    )
    ahead = min(found["partitions"].values(), default=None)
    kept = max((pin["transactions"] for pin in found["pinned"]), default=0)
    since = ago(max((pin["seconds"] or 0 for pin in found["pinned"]), default=None))
    page.line(f"partitions made ahead: {ahead} days; oldest snapshot held: {kept} transactions, {since}")
    if found["events_skipped"]:
        told = ", ".join(f"{agent} {number}" for agent, number in found["events_skipped"].items())
        page.line(f"events dropped by retention before they were read: {told}", style="yellow")


def _at_most(seconds: float | None) -> str:
    if seconds is None:
        return "over a minute"
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def _show_waiting(page: Page, found: dict[str, Any]) -> None:
    if found["approvals"]:
        page.title("Waiting for your answer (`dataswarm approve ID` or `dataswarm deny ID`)")
        asked = [(a["incident_id"], _first(a["question"]), moment(a["expires_at"])) for a in found["approvals"]]
        page.table(("incident", "question", "expires"), asked)
    if found["escalations"]:
        page.title("In human hands")
        handed = [(e["incident_id"], e["state"], e["reason"], e["answered_by"]) for e in found["escalations"]]
        page.table(("incident", "state", "reason", "by"), handed)
    if found["compatibility_views"]:
        page.title("Compatibility views in force")
        bridges = [(v["remediation_id"], v["subject"], v["summary"]) for v in found["compatibility_views"]]
        page.table(("remediation", "subject", "what"), bridges)


def _show_restraints(page: Page, found: dict[str, Any]) -> None:
    if found["caps"]:
        page.title("Caps")
        page.table(("scope", "at most", "by", "why"), [_named(c, "scope", "autonomy") for c in found["caps"]])
    if found["silences"]:
        page.title("Silences")
        muted = [(s["pattern"], moment(s["ends_at"]), s["by"], s["reason"]) for s in found["silences"]]
        page.table(("asset", "until", "by", "why"), muted)
    if found["planned_changes"]:
        page.title("Planned changes")
        announced = [
            (c["pattern"], c["kind"], moment(c["ends_at"]), c["by"], c["reason"]) for c in found["planned_changes"]
        ]
        page.table(("asset", "kind", "until", "by", "why"), announced)


def _named(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return (*(row[name] for name in names), row["by"], row["reason"])


def show_incidents(page: Page, found: list[dict[str, Any]], everything: bool) -> None:
    """Incidents, a line each."""
    if not found:
        page.line(
            "no incidents yet" if everything else "no open incidents; `dataswarm incidents --all` shows past ones"
        )
        return
    rows = [
        (
            i["id"],
            i["state"],
            i["severity"],
            i["title"],
            moment(i["opened_at"]),
            i["resolution"] or i["acknowledged_by"],
        )
        for i in found
    ]
    page.table(("id", "state", "severity", "what", "opened", "ended / taken up by"), rows)


def _first(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""
