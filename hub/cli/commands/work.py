"""`hub sync`, `hub link`, `hub reconcile`: work that a person starts."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hub.cli import output
from hub.cli.session import Json, Why, operate
from hub.domain.errors import InvalidInput

NEEDS_PERSON = 5  # exit code: done, but some records need a person

FlowName = Annotated[str, typer.Argument(help="The flow's name, as in hub.yaml.")]

_SYNC = """
[bold]Examples[/bold]

hub sync orders-to-erp                    what changed since the last time

hub sync orders-to-erp --record 65aa17a9  one record

hub sync orders-to-erp --since 2d --dry-run

hub sync products --full                  everything, and a look after what is gone
"""
_LINK = """
[bold]Examples[/bold]

hub link customers-to-erp                 report only

hub link customers-to-erp --apply         link what is certain; no field moves by it
"""
_RECONCILE = """
[bold]Examples[/bold]

hub reconcile customers-to-erp            compare and report

hub reconcile customers-to-erp --repair   and make due what is missing or different

hub reconcile customers-to-erp --repair --allow-deletes 300
"""


def add_to(app: typer.Typer) -> None:
    app.command("sync", epilog=_SYNC)(sync)
    app.command("link", epilog=_LINK)(link)
    app.command("reconcile", epilog=_RECONCILE)(reconcile)


def sync(
    context: typer.Context,
    flow: FlowName,
    full: Annotated[bool, typer.Option("--full", help="Read everything, and ask after what is gone.")] = False,
    since: Annotated[
        str | None, typer.Option(help="Read again from 2h or 3d ago, or from a date.", show_default=False)
    ] = None,
    record: Annotated[
        list[str] | None, typer.Option(help="Only this source record; may be given again.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written; write nothing.")] = False,
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Read a flow's source and deliver what is due, now."""
    if dry_run:
        if full:
            raise InvalidInput("A dry run looks at some records.", hint="name them with --record or --since")
        _preview(operate(context, "preview", flow=flow, since=since, records=record or []), as_json)
        return
    done = operate(context, "sync", flow=flow, full=full, since=since, records=record or [], why=why)
    if as_json:
        output.print_json(done)
    else:
        _synced(done)
    if done["needs_person"]:
        raise typer.Exit(NEEDS_PERSON)


def _synced(done: dict[str, Any]) -> None:
    for id_ in done["absent"]:
        output.warn(f"The source has no record {id_}.", "`--record` takes the record's id, not its number")
    for id_ in done["unreadable"]:
        output.warn(
            f"The source does not show the record {id_}: no rights, or it can't tell.", "`hub check` tells the rights"
        )
    read, captured = done["captured"], done["captured"]["new"] + done["captured"]["newer"]
    output.good(f"{done['flow']}: {output.counted(read['read'], 'record')} read, {captured:,} new or changed.")
    if done["delivered"]:
        output.say("  now: " + ", ".join(f"{count:,} {state}" for state, count in done["delivered"].items()))
    else:
        output.say("  nothing was due", "dim")
    resting = {state: count for state, count in done["states"].items() if count}
    output.say("  in all: " + (", ".join(f"{count:,} {state}" for state, count in resting.items()) or "nothing"), "dim")
    if done["needs_person"]:
        hint = f"`hub deliveries list --flow {done['flow']}` shows them, `hub why NUMBER` explains one"
        output.warn(f"{output.counted(done['needs_person'], 'delivery needs', 'deliveries need')} a person.", hint)


def _preview(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.print_json(found)
        return
    if not found["items"]:
        output.say("Nothing would be written.", "dim")
    for item in found["items"]:
        output.say(f"{item['title'] or item['source_id']}: {item['what']}", "bold")
        if item["why"]:
            output.say(f"  {item['why']}", "yellow")
        rows = [
            {"field": name, "from": _text(change.get("from")), "to": _text(change.get("to"))}
            for name, change in item["changes"].items()
        ]
        if rows:
            output.table(rows, {"field": "Field", "from": "Now", "to": "Then"})
        for table, change in item["rows"].items():
            output.say(f"  {table}: {_text(change)}", "dim")


def _text(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else str(value)


def link(
    context: typer.Context,
    flow: FlowName,
    apply: Annotated[bool, typer.Option("--apply/--dry-run", help="Link what is certain, or only report.")] = False,
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Match the records that exist on both sides, in bulk. Linking moves no field."""
    found = operate(context, "link", flow=flow, apply=apply, why=why)
    if as_json:
        output.print_json(found)
        return
    counts = found["counts"]
    output.say(f"{flow}: {counts['source']:,} records here, {counts['target']:,} there", "bold")
    output.details(
        {
            "linked before": f"{counts['linked_before']:,}",
            "single (certain)": f"{counts['single']:,}",
            "several (a person decides)": f"{counts['several']:,}",
            "none (only here)": f"{counts['none']:,}",
            "left out by a rule": f"{counts['left_out']:,}",
        }
    )
    rows = [{**item, "targets": ", ".join(item["targets"])} for item in found["candidates"][:20]]
    if rows:
        output.say("")
        output.table(rows, {"title": "Title", "source_id": "Record", "targets": "May be", "why": "Why not by itself"})
    if found["dry_run"]:
        output.say(f"Nothing was linked. `hub link {flow} --apply` links the {counts['single']:,} certain ones.", "dim")
    else:
        output.good(f"{output.counted(counts['linked'], 'pair')} linked, {counts['held']:,} held for a person.")


def reconcile(
    context: typer.Context,
    flow: FlowName,
    repair: Annotated[bool, typer.Option("--repair", help="Make what is missing or different due again.")] = False,
    allow_deletes: Annotated[
        int | None,
        typer.Option(
            "--allow-deletes",
            help="So many records may have vanished from a side, and be deleted or made again.",
            min=0,
            show_default=False,
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Begin anew, although an earlier one was broken off.")
    ] = False,
    why: Why = None,
    as_json: Json = False,
) -> None:
    """Compare both sides in full, field by field. Exit code 5 when they differ and it was not repaired."""
    found = operate(
        context, "reconcile", flow=flow, repair=repair, allow_deletes=allow_deletes, restart=restart, why=why
    )
    counts = found["counts"]
    wrong = sum(counts[name] for name in ("different", "missing", "ghost", "deleted"))
    if as_json:
        output.print_json(found)
    else:
        _reconciled(flow, found, wrong)
    if (wrong and not repair) or counts["refused"]:
        raise typer.Exit(NEEDS_PERSON)


def _reconciled(flow: str, found: dict[str, Any], wrong: int) -> None:
    counts = found["counts"]
    output.say(f"{flow}: {counts['source']:,} records here, {counts['target']:,} there", "bold")
    names = {
        "same": "the same",
        "different": "different",
        "missing": "missing there",
        "ghost": "linked to what is gone there",
        "deleted": "deleted here, unheard",
        "owed": "on their way, or held",
        "unclear": "can't tell",
        "extra": "only there",
        "left_out": "left out by a rule",
    }
    output.details({text: f"{counts[name]:,}" for name, text in names.items()})
    rows = [
        {**item, "title": item["title"] or item["source_id"] or item["target_id"], "fields": ", ".join(item["fields"])}
        for item in found["findings"][:20]
    ]
    if rows:
        output.say("")
        output.table(
            rows, {"kind": "What", "title": "Title", "source_id": "Here", "target_id": "There", "fields": "Fields"}
        )
    if counts["owed"]:
        output.say(f"  → hub deliveries list --flow {flow}: why {counts['owed']:,} are not there yet", "yellow")
    if counts["refused"]:
        output.bad(
            f"{output.counted(counts['refused'], 'record')} vanished from one side, and {counts['limit']:,} may "
            "at once: they were left alone.",
            f"if they are really gone: hub reconcile {flow} --repair --allow-deletes {counts['refused']}",
        )
    if not wrong:
        output.good(
            "Both sides say the same." if not counts["owed"] else "Nothing is wrong that the ledger does not know."
        )
    elif found["repaired"]:
        output.good(f"{output.counted(wrong - counts['refused'], 'record')} made due again.")
    else:
        output.warn(
            f"{output.counted(wrong, 'record')} to mend.", f"`hub reconcile {flow} --repair` makes them due again"
        )
