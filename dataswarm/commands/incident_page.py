"""One incident on a page: what happened, why, what was done about it, and what can be done now."""

from __future__ import annotations

from typing import Any

from dataswarm.rendering import Page, moment


def show_incident(page: Page, found: dict[str, Any]) -> None:
    """Head, timeline, diagnoses, remedies, what failed for good, questions, hand-overs."""
    page.line(f"Incident {found['id']}: {found['title']}", style="bold")
    ended = f", {found['resolution']}" if found["resolution"] else ""
    page.line(f"{found['state']}{ended} · {found['severity']} · {found['kind']} · {found['subject']}")
    if found["owner"]:
        page.line(f"owner: {found['owner']}")
    if found["acknowledged_by"]:
        page.line(f"taken up by {found['acknowledged_by']}")
    page.title("Timeline")
    rows = [(moment(s["at"]), s["after"], s["by"], s["reason"]) for s in found["timeline"]]
    page.table(("at", "state", "by", "because"), rows)
    _show_diagnoses(page, found["diagnoses"])
    for remedy in found["remediations"]:
        _show_remedy(page, remedy)
    _show_would_have(page, found)
    _show_failed(page, found["failed_tasks"])
    _show_humans(page, found)


def _show_diagnoses(page: Page, diagnoses: list[dict[str, Any]]) -> None:
    if not diagnoses:
        return
    page.title("Diagnoses")
    rows = [
        (d["id"], d["cause"], f"{d['confidence']:.2f}", d["origin"], d["agent"], d["rationale"])
        for d in diagnoses
        if d["is_live"]
    ]
    page.table(("id", "cause", "confidence", "by way of", "agent", "because"), rows)
    old = sum(not d["is_live"] for d in diagnoses)
    if old:
        page.line(f"{old} older one(s) were superseded; --json shows them")


def _show_remedy(page: Page, remedy: dict[str, Any]) -> None:
    page.title(f"Remediation {remedy['id']}: {remedy['playbook']}, {remedy['state']}")
    if remedy["summary"]:
        page.line(remedy["summary"])
    if reason := remedy["result"].get("reason"):
        page.line(f"outcome: {reason}")
    for gate in remedy["policy"]:
        page.line(f"policy ({gate['stage']}): {gate['said']}")
        for said in gate["trail"]:
            page.line(f"  {said}")
    if remedy["preview"]:
        page.line()
        for line in str(remedy["preview"]).splitlines():
            page.line(f"  {line}", style="green" if line.startswith("+") else "red" if line.startswith("-") else "")
    if remedy["effects"]:
        page.line()
        rows = [(e["id"], e["step"], e["target"], e["effect_class"], e["state"]) for e in remedy["effects"]]
        page.table(("effect", "step", "target", "class", "state"), rows)
    if refused := remedy["not_taken_back"]:
        page.line(f"not taken back ({moment(refused['at'])}): {refused['error']}", style="red")
    if remedy["state"] in ("applied", "verified"):
        by_hand = f" (by hand: {remedy['undo_hint']})" if remedy["undo_hint"] else ""
        page.line(f"to take it back: dataswarm undo {remedy['id']}{by_hand}")


def _show_would_have(page: Page, found: dict[str, Any]) -> None:
    for remedy in found["remediations"]:
        would = remedy["would_have"]
        if would:
            page.title("Would have")
            page.line(f"{would.get('playbook', remedy['playbook'])}: {would.get('summary', '')}")
            page.line(f"not done: {remedy['result'].get('stage', 'policy')}: {remedy['result'].get('reason', '')}")


def _show_failed(page: Page, failed: list[dict[str, Any]]) -> None:
    if not failed:
        return
    page.title("Failed for good")
    for task in failed:
        tries = "1 try" if task["attempt"] == 1 else f"{task['attempt']} tries"
        page.line(f"task {task['id']} ({task['kind']}, {task['agent']}) after {tries}, {moment(task['at'])}")
        page.line(f"  {task['error']}")
        page.line(f"  once the cause is gone: {task['hint']}")


def _show_humans(page: Page, found: dict[str, Any]) -> None:
    for asked in found["approvals"]:
        page.title(f"Waiting for your answer until {moment(asked['expires_at'])}")
        page.line(asked["question"])
        page.line(f"answer: dataswarm approve {found['id']}, or dataswarm deny {found['id']} --reason …")
    for handed in found["escalations"]:
        page.title(
            f"Handed to a human, {handed['state']}" + (f" by {handed['answered_by']}" * bool(handed["answered_by"]))
        )
        page.line(handed["reason"])
        packet = handed["packet"]
        for name in ("questions", "commands", "rollback"):
            said = packet.get(name)
            if isinstance(said, list) and said:
                page.line(f"{name}:")
                for line in said:
                    page.line(f"  {line if isinstance(line, str) else ' '.join(str(v) for v in line.values())}")
