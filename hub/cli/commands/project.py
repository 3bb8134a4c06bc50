"""`hub init` and `hub check`: a project that is made, and one that is looked over."""

from __future__ import annotations

import platform
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.cli import output
from hub.cli.session import Json, Session, run, session
from hub.domain.errors import HubError, InvalidInput, Problem

INIT_EXAMPLES = """
[bold]Examples[/bold]

hub init shop                    a project against simulators, to try things with

hub init shop --real             the same against your own systems: fill in .env, then run `hub check`
"""
CHECK_EXAMPLES = """
[bold]Examples[/bold]

hub check                        settings, systems, rights and mappings

hub check --offline              only what needs no network
"""


def add_to(app: typer.Typer) -> None:
    app.command("init", epilog=INIT_EXAMPLES)(init)
    app.command("check", epilog=CHECK_EXAMPLES)(check)
    app.command("version")(version)


def init(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(help="The folder to make.")] = Path(),
    real: Annotated[bool, typer.Option("--real", help="For your own systems instead of simulators.")] = False,
    pair: Annotated[str, typer.Option(help="Which ready-made mappings.")] = "fxiaoke-kingdee",
    as_json: Json = False,
) -> None:
    """Make a project folder: hub.yaml, ready-made mappings, .env.example. Nothing that exists is overwritten."""
    from hub.runtime.scaffold import scaffold

    made = scaffold(folder, pair, session(context).installed(), simulated=not real)
    if as_json:
        output.print_json({"folder": str(made.folder), "files": [str(file) for file in made.files]})
        return
    output.good(f"Made the project {made.folder}")
    for file in made.files:
        output.say(f"  {file}", "dim")
    output.say("")
    output.say("Next:", "bold")
    for line in made.next_steps:
        output.say(f"  {line}")


def check(
    context: typer.Context,
    offline: Annotated[bool, typer.Option("--offline", help="Leave the systems alone; use their catalogues.")] = False,
    as_json: Json = False,
) -> None:
    """Look over everything: settings, whether each system can be reached and allows what is needed, the mappings."""
    report = run(_check(session(context), offline))
    if as_json:
        output.print_json({"ok": report.ok, "findings": report.findings, "problems": report.problems})
    else:
        _print(report)
    if not report.ok:
        raise typer.Exit(report.exit_code)


class _Report:
    def __init__(self) -> None:
        self.ok = True
        self.exit_code = 0
        self.findings: list[dict[str, Any]] = []
        self.problems: list[dict[str, Any]] = []
        self.lines: list[Problem] = []

    def found(self, system: str, what: str, ok: bool, hint: str | None, code: int) -> None:
        self.findings.append({"system": system, "what": what, "ok": ok, "hint": hint})
        self._code(ok, code)

    def wrong(self, problems: list[Problem]) -> None:
        self.lines += problems
        self.problems += [output.as_problem(problem) for problem in problems]
        self._code(all(problem.warning for problem in problems), 2)

    def _code(self, ok: bool, code: int) -> None:
        if not ok:
            self.ok = False
            self.exit_code = self.exit_code or code


async def _check(session: Session, offline: bool) -> _Report:
    from hub.runtime.project import Project

    report = _Report()
    config = session.config()
    report.wrong(config.warnings)
    project = Project(config, session.installed(), offline=offline)
    try:
        if not offline:
            for name in config.systems:
                await _check_system(project, name, report)
        try:
            report.wrong(await project.check_mappings())
        except InvalidInput as error:
            report.wrong(error.problems)
    finally:
        await project.aclose()
    return report


async def _check_system(project: Any, name: str, report: _Report) -> None:
    try:
        findings = await project.connector(name).check()
    except HubError as error:
        report.found(name, error.message, False, error.hint, error.exit_code)
        return
    for finding in findings:
        report.found(name, finding.what, finding.ok, finding.hint, 3)


def _print(report: _Report) -> None:
    system = None
    for finding in report.findings:
        if finding["system"] != system:
            system = finding["system"]
            output.say(f"{system}", "bold")
        (output.good if finding["ok"] else output.bad)(finding["what"], *([] if finding["ok"] else [finding["hint"]]))
    if report.lines:
        output.say("files", "bold")
        output.print_problems(report.lines, to_stderr=False)
    wrong = [finding for finding in report.findings if not finding["ok"]]
    errors = [problem for problem in report.lines if not problem.warning]
    output.say("")
    if report.ok:
        output.good("All is well.")
    else:
        output.bad(f"{output.counted(len(wrong) + len(errors), 'thing')} to mend.")


def version(as_json: Json = False) -> None:
    """Tell which release this is, and on what it runs."""
    here = {"version": version_of("crm-integration-hub"), "python": platform.python_version()}
    if as_json:
        output.print_json(here)
    else:
        output.say(f"hub {here['version']} (Python {here['python']})")
