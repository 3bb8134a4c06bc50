"""Checks names from the other side: what is defined and used nowhere, what is used and defined nowhere."""

from __future__ import annotations

from hub.mapping.check_scope import Report, did_you_mean
from hub.mapping.model import MappingSpec


def check_unused(mapping: MappingSpec, report: Report, params: frozenset[str] | None) -> None:
    """Report names that nothing uses; with the `params` of hub.yaml also parameters that are not there.

    To be asked last, when `report` has seen every use.
    """
    used = report.used
    for let in mapping.let.values():
        if ("let", let.name) not in used:
            report.warning(let.place, f"let.{let.name} is used nowhere", "unused")
    for table in mapping.lookups.values():
        if ("lookup", table.name) not in used:
            report.warning(table.place, f"The lookup {table.name} is used nowhere", "unused")
    for related in mapping.related.values():
        if ("related", related.name) not in used and not related.wakes:
            report.warning(related.place, f"The relation {related.name} is used nowhere", "unused")
    asked = {name for what, name in used if what == "param"}
    for name in sorted(asked - params) if params is not None else ():
        hint = did_you_mean(name, params or ())
        message = f"The parameter {name} is not defined under `params:` of hub.yaml{hint}"
        report.error(used["param", name], message, "param")
    for case in mapping.tests:
        for name in sorted(case.params.keys() - asked):
            hint = did_you_mean(name, asked)
            message = f"The test `{case.name}` gives the parameter {name}, which is used nowhere{hint}"
            report.warning(case.place, message, "unused")
