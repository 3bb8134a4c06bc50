"""Conformance: what a connector says of itself and of its system."""

from __future__ import annotations

from typing import get_args

from pydantic import SecretStr

from hub.connector.conformance.bench import Bench, must
from hub.connector.contract import Finding, Finds, HasFiles, Reads, Receives, Writes
from hub.domain.errors import NotFound
from hub.domain.schema import Field, FieldType, ObjectSchema

_DEAD_END = "http://127.0.0.1:9"


async def settings_are_documented(bench: Bench) -> None:
    """Every setting MUST have a description, and every secret MUST be a SecretStr."""
    for name, field in bench.connector.manifest.settings.model_fields.items():
        must(field.description, f"setting '{name}' has no description")
        looks_secret = any(word in name.lower() for word in ("secret", "password", "token", "aes_key", "permanent"))
        is_secret = field.annotation is SecretStr or SecretStr in get_args(field.annotation)
        must(is_secret or not looks_secret, f"setting '{name}' holds a secret and is no SecretStr")


async def manifest_is_complete(bench: Bench) -> None:
    """The manifest MUST name vendor, title, API and documents, and give every exemption a reason."""
    manifest = bench.connector.manifest
    for part in ("name", "vendor", "title", "api", "docs"):
        must(getattr(manifest, part), f"the manifest's {part} is empty")
    for case, reason in manifest.exempt.items():
        must(len(reason.split()) >= 3 or len(reason) >= 12, f"the exemption of {case} gives no reason")


async def objects_are_listed_and_described(bench: Bench) -> None:
    """objects() MUST list what describe() knows, each with a label."""
    infos = await bench.connector.objects()
    names = [info.name for info in infos]
    must(bench.object in names, f"objects() does not list {bench.object}")
    must(len(names) == len(set(names)), "objects() lists a name twice")
    for info in infos:
        must(info.label, f"{info.name} has no label")
        schema = await bench.connector.describe(info.name)
        must(schema.name == info.name, f"describe('{info.name}') answers with '{schema.name}'")


async def schema_is_sane(bench: Bench) -> None:
    """A schema MUST fit together: roles name fields, tables have fields, enums options, powers match the connector."""
    for info in await bench.connector.objects():
        schema = await bench.connector.describe(info.name)
        _sane_roles(schema)
        _sane_fields(schema.name, schema.fields)
        _sane_powers(schema, bench)


async def unknown_object_is_not_found(bench: Bench) -> None:
    """describe() of an unknown name MUST raise NotFound and name what is near."""
    near = bench.object[:-1]
    try:
        await bench.connector.describe(near)
    except NotFound as error:
        bench.show(error)
        must(bench.object in f"{error} {error.hint}", f"NotFound does not name the near '{bench.object}'")
    else:
        must(False, "describe() of an unknown object did not raise NotFound")


async def fingerprint_is_stable(bench: Bench) -> None:
    """fingerprint() MUST be the same for every connection to one tenant."""
    first = await bench.connector.fingerprint()
    bench.show(first)
    must(first, "the fingerprint is empty")
    must(first == await bench.connector.fingerprint(), "the fingerprint changes from call to call")
    must(first == await bench.another(fresh_tokens=True).fingerprint(), "the fingerprint changes with the log-in")


async def check_says_what_works(bench: Bench) -> None:
    """check() of a system that is in order MUST find nothing wrong, in words."""
    findings = await bench.connector.check()
    must(findings, "check() says nothing")
    for finding in findings:
        must(finding.what, "a finding has no words")
        must(finding.ok, f"check() finds wrong what is in order: {finding.what}")


async def check_names_wrong_credentials(bench: Bench) -> None:
    """check() with wrong credentials MUST NOT raise, and MUST say what to do."""
    connector = bench.another(bench.harness.wrong(bench.settings), fresh_tokens=True)
    _explained(bench, await connector.check(), "wrong credentials")


async def check_survives_an_unreachable_system(bench: Bench) -> None:
    """check() of a system that can't be reached MUST NOT raise, and MUST say what to do."""
    base = bench.simulator.base_url
    settings = {
        name: value.replace(base, _DEAD_END) if isinstance(value, str) else value
        for name, value in bench.settings.items()
    }
    _explained(bench, await bench.another(settings, fresh_tokens=True).check(), "a dead address")


async def close_can_be_repeated(bench: Bench) -> None:
    """aclose() MUST be allowed twice."""
    connector = bench.another()
    await connector.check()
    await connector.aclose()
    await connector.aclose()


def _explained(bench: Bench, findings: list[Finding], what: str) -> None:
    bench.show(*findings)
    wrong = [finding for finding in findings if not finding.ok]
    must(wrong, f"check() finds nothing wrong with {what}")
    for finding in wrong:
        must(finding.what and finding.hint, f"check() does not say what to do about {what}: {finding.what}")


def _sane_roles(schema: ObjectSchema) -> None:
    must(schema.label, f"{schema.name} has no label")
    known = set(schema.fields) | {schema.id_field}
    roles = (schema.title_field, schema.number_field, schema.modified_field, schema.version_field, schema.master_field)
    facts, can = schema.facts, schema.capabilities
    for role in (*roles, facts.state_field, can.stamp_field, can.upsert_key):
        must(role is None or role in known, f"{schema.name}: '{role}' is not one of its fields")
    must(facts.settles_within > 0, f"{schema.name}: settles_within must be more than nothing")


def _sane_fields(where: str, fields: dict[str, Field]) -> None:
    for name, field in fields.items():
        must(field.name == name, f"{where}.{name} calls itself '{field.name}'")
        must((field.type is FieldType.ROWS) == (field.rows is not None), f"{where}.{name}: rows and their fields")
        must(not (field.computed and field.required), f"{where}.{name} is computed and required")
        if field.rows is not None:
            must(field.row_key, f"{where}.{name}: the table does not say which field holds the row's id")
            _sane_fields(f"{where}.{name}", field.rows)


def _sane_powers(schema: ObjectSchema, bench: Bench) -> None:
    can, connector = schema.capabilities, bench.connector
    writes = can.create or can.update or can.delete or can.operations
    must(not writes or isinstance(connector, Writes), f"{schema.name} can be written, the connector can't write")
    must(not can.webhooks or isinstance(connector, Receives), f"{schema.name} has webhooks that nobody receives")
    must(not can.files or isinstance(connector, HasFiles), f"{schema.name} has files that nobody carries")
    must(isinstance(connector, Reads) == isinstance(connector, Finds), "who reads also finds, and the reverse")
    must(min(can.write_batch, can.get_batch, can.find_batch) >= 1, f"{schema.name}: a batch holds at least one")
