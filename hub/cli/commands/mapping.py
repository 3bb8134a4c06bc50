"""`hub mapping`: check, test, run, compare, turn round; what engineers do every day."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hub.cli import output
from hub.cli.session import Json, Session, operate, run, session
from hub.domain.errors import InvalidInput, NotFound, Problem

if TYPE_CHECKING:
    from hub.mapping.model import MappingSpec
    from hub.runtime.project import Project

app = typer.Typer(help="Mappings: check, test, try on a record, compare, turn round.", no_args_is_help=True)

Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="Flows, mapping files, or folders of them; all of the project's without any.", show_default=False
    ),
]
Offline = Annotated[bool, typer.Option("--offline", help="Leave the systems alone; use their catalogues.")]

_CHECK = """
[bold]Examples[/bold]

hub mapping check                          all mappings of the project

hub mapping check mappings/products.yaml --offline
"""


@app.command("check", epilog=_CHECK)
def check(context: typer.Context, names: Names = None, offline: Offline = False, as_json: Json = False) -> None:
    """Check mappings against both systems' schemas: every problem with its place and the nearest name."""
    problems = run(_check(session(context), names or [], offline))
    errors = [problem for problem in problems if not problem.warning]
    if as_json:
        output.print_json({"ok": not errors, "problems": [output.as_problem(problem) for problem in problems]})
    else:
        output.print_problems(problems, to_stderr=False)
        if errors:
            output.bad(
                f"{output.counted(len(errors), 'problem')}, {output.counted(len(problems) - len(errors), 'warning')}."
            )
        else:
            output.good(f"Nothing is wrong ({output.counted(len(problems), 'warning')}).")
    if errors:
        raise typer.Exit(2)


async def _check(chosen: Session, names: list[str], offline: bool) -> list[Problem]:
    project = _project(chosen, offline)
    try:
        problems = await project.check_mappings()
    except InvalidInput as error:
        problems = error.problems
    finally:
        await project.aclose()
    if not names:
        return problems
    files = {_file(project, one) for name in names for one in _named(name)}
    shown = {
        str(file.relative_to(project.config.folder)) for file in files if file.is_relative_to(project.config.folder)
    }
    return [problem for problem in problems if problem.place is None or problem.place.file in shown]


@app.command("test", epilog="[bold]Example[/bold]\n\nhub mapping test orders-to-erp")
def run_tests(context: typer.Context, names: Names = None, as_json: Json = False) -> None:
    """Run the tests that stand in the mapping files. No system is asked."""
    reports = run(_test(session(context), names or []))
    failed = sum(not case["passed"] for cases in reports.values() for case in cases)
    if as_json:
        output.print_json({"ok": not failed, "mappings": reports})
    else:
        _print_tests(reports, failed)
    if failed:
        raise typer.Exit(2)


async def _test(chosen: Session, names: list[str]) -> dict[str, list[dict[str, Any]]]:
    from hub.mapping.testing import run_tests
    from hub.runtime.project import beside

    project = _project(chosen, offline=True)
    reports = {}
    try:
        for name, (file, spec) in _specs(project, names).items():
            schemas = await project.schemas([spec], [])
            system = spec.source.system
            related = {one.name: schemas.get((system, one.object)) for one in spec.related.values()}
            done = run_tests(
                spec,
                source=schemas.get((system, spec.source.object)),
                target=schemas.get((spec.target.system, spec.target.object)),
                related={key: schema for key, schema in related.items() if schema is not None},
                read_file=beside(file),
            )
            reports[name] = [
                {"name": one.name, "passed": one.passed, "place": str(one.place), "differences": list(one.differences)}
                for one in done
            ]
    finally:
        await project.aclose()
    return reports


def _print_tests(reports: dict[str, list[dict[str, Any]]], failed: int) -> None:
    for name, cases in reports.items():
        output.say(name, "bold")
        if not cases:
            output.warn("has no tests", "write some under `tests:`")
        for case in cases:
            if case["passed"]:
                output.good(case["name"])
                continue
            output.bad(f"{case['name']}  ({case['place']})")
            for line in case["differences"]:
                output.say(f"    {line}", "red")
    total = sum(map(len, reports.values()))
    output.say("")
    if failed:
        output.bad(f"{failed} of {output.counted(total, 'test')} failed.")
    else:
        output.good(f"{output.counted(total, 'test')} passed.")


@app.command("run", epilog="[bold]Example[/bold]\n\nhub mapping run orders-to-erp --record 65aa17a9")
def run_(
    context: typer.Context,
    flow: Annotated[str, typer.Argument(help="The flow's name.")],
    record: Annotated[str, typer.Option(help="The source record's id.")],
    as_json: Json = False,
) -> None:
    """Show one record field by field: where each value came from, and how it changed. Nothing is written."""
    found = operate(context, "mapping.explain", flow=flow, record=record)
    if as_json:
        output.print_json(found)
        return
    rows = [
        {
            "field": one["field"],
            "paths": ", ".join(one["paths"]),
            "steps": " → ".join(f"{step}: {value}" if step != "written" else value for step, value in one["steps"]),
        }
        for one in found["fields"]
    ]
    output.table(rows, {"field": "Field", "paths": "From", "steps": "How"})
    output.say(found["outcome"][:1].upper() + found["outcome"][1:] + ".", "bold")


@app.command("diff", epilog="[bold]Example[/bold]\n\nhub mapping diff orders-to-erp new-orders.yaml --sample 500")
def diff(
    context: typer.Context,
    old: Annotated[str, typer.Argument(help="A flow, or a mapping file of the project.")],
    new: Annotated[Path, typer.Argument(help="The edited mapping file.")],
    sample: Annotated[int, typer.Option(help="How many records to try at most.", min=1)] = 500,
    as_json: Json = False,
) -> None:
    """Show what an edited mapping would change in real records. Nothing is written."""
    project = _project(session(context), offline=True)
    before = _file(project, old)
    flow = next((name for name, one in project.config.flows.items() if one.mapping_file.resolve() == before), None)
    if flow is None:
        raise NotFound(f"No flow of the project uses {old}.", hint="name a flow")
    found = operate(
        context,
        "mapping.diff",
        flow=flow,
        old=_read(before),
        new=_read(new),
        old_file=before.name,
        new_file=new.name,
        sample=sample,
    )
    if as_json:
        output.print_json(found)
        return
    output.say(f"{output.counted(found['looked_at'], 'record')} tried, {found['same']:,} the same.", "bold")
    for name, count in found["fields"].items():
        output.say(f"  {name}: {output.counted(count, 'record')}")
    rows = [
        {"title": one["title"] or one["id"], **_change(one, change)}
        for one in found["records"][:20]
        for change in one["changes"] or [{}]
    ]
    if rows:
        output.table(rows, {"title": "Title", "field": "Field", "before": "Before", "after": "After"})
    if found["failures"]:
        output.warn(f"{output.counted(found['failures'], 'record')} would travel no more.")


def _change(record: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    if not change:
        return {"field": "(the whole record)", "before": record["before"], "after": record["after"]}
    return {"field": change["field"], "before": _text(change["before"]), "after": _text(change["after"])}


def _text(value: Any) -> str:
    return "null" if value is None else str(value)


@app.command(
    "invert", epilog="[bold]Example[/bold]\n\nhub mapping invert customers-to-erp > mappings/customers-to-crm.yaml"
)
def invert(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A flow or a mapping file.")],
    offline: Offline = True,
    as_json: Json = False,
) -> None:
    """Draft the opposite direction of a mapping. What can't be turned round becomes a remark."""
    text = run(_invert(session(context), name, offline))
    output.print_json({"yaml": text}) if as_json else typer.echo(text, nl=False)


async def _invert(chosen: Session, name: str, offline: bool) -> str:
    from hub.mapping.invert import invert

    project = _project(chosen, offline)
    try:
        specs = _specs(project, [name])
        if len(specs) != 1:
            raise InvalidInput(f"There are {len(specs)} mappings in {name}.", hint="name one: " + ", ".join(specs))
        [(_, spec)] = specs.values()
        return invert(spec, await project.schemas([spec], []))
    finally:
        await project.aclose()


@app.command("schema", epilog="[bold]Example[/bold]\n\nhub mapping schema > .mapping.schema.json")
def schema(as_json: Json = False) -> None:
    """Print the mapping language's JSON Schema, for completion and checks in any editor."""
    from hub.mapping.json_schema import json_schema

    output.print_json(json_schema())


def _project(chosen: Session, offline: bool) -> Project:
    from hub.runtime.project import Project

    return Project(chosen.config(), chosen.installed(), offline=offline)


def _specs(project: Project, names: list[str]) -> dict[str, tuple[Path, MappingSpec]]:
    """Mappings by what they were called. Raises InvalidInput with every problem of every file."""
    from hub.runtime.project import read_mapping

    found, problems = {}, []
    chosen = [one for name in names for one in _named(name)] if names else list(project.config.flows)
    for name in dict.fromkeys(chosen):
        file = _file(project, name)
        spec, wrong = read_mapping(file, shown=_shown(project, file), names=project.config.names)
        problems += [problem for problem in wrong if not problem.warning]
        if spec is not None:
            found[name] = (file, spec)
    if problems:
        raise InvalidInput("The mappings can't be used.", problems, hint="mend the lines named here")
    return found


def _named(name: str) -> list[str]:
    """What a person means by a name: itself, or every mapping in the folder of that name. Raises NotFound."""
    folder = Path(name)
    if not folder.is_dir():
        return [name]
    found = sorted(str(file) for file in folder.rglob("*.yaml") if _is_mapping(file))
    if not found:
        raise NotFound(
            f"There are no mappings in the folder {folder}.", hint="a mapping is a .yaml file with `mapping:`"
        )
    return found


def _is_mapping(file: Path) -> bool:
    """Whether a YAML file is a mapping; one that can't be read is told of when it is loaded."""
    from hub.mapping.document import parse

    try:
        node = parse(file.read_text(encoding="utf-8"), file.name, [])
    except (OSError, UnicodeDecodeError):
        return True
    return node is None or (node.map is not None and "mapping" in node.map)


def _file(project: Project, name: str) -> Path:
    """The file of a flow, or the file itself."""
    flow = project.config.flows.get(name)
    if flow is not None:
        return flow.mapping_file.resolve()
    if Path(name).is_file():
        return Path(name).resolve()
    return project.config.flow(name).mapping_file


def _shown(project: Project, file: Path) -> str:
    folder = project.config.folder
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else str(file)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(f"{file} can't be read: {error}.") from error
