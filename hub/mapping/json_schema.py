"""The JSON Schema of a mapping file, made from the table of forms, so that editors complete and check it."""

from __future__ import annotations

from typing import Any

from hub.mapping.forms import FORMS, ORIGINS, WRITE_BACK_KEYS, Form

Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"  # the newest that editors' YAML plug-ins know wholly

_SCALAR: Schema = {"type": ["string", "number", "boolean", "null"]}
_WORDS: Schema = {"type": "string", "minLength": 1}
_TEXT: Schema = {"type": ["string", "number"]}
_EXPR: Schema = {"anyOf": [_SCALAR, {"$ref": "#/definitions/value"}]}
_SIMPLE: dict[str, Schema] = {
    "text": _TEXT,
    "name": _WORDS,
    "path": _WORDS,
    "cel": {"type": ["string", "boolean"], "minLength": 1},
    "calc": _TEXT,
    "template": _TEXT,
    "flag": {"type": "boolean"},
    "integer": {"type": "integer", "minimum": 0},
    "decimal": {"type": ["string", "number"], "pattern": r"^[-+]?[0-9]+(\.[0-9]+)?$"},
    "duration": {"type": ["string", "integer"], "pattern": r"^[0-9]+ *[smhd]?$"},
    "constant": _SCALAR,
    "any": {},
    "expr": _EXPR,
    "const_or_expr": _EXPR,
    "const_or_path": _EXPR,
    "rule": {"$ref": "#/definitions/rule"},
    "first": {"anyOf": [{"const": True}, _WORDS, {"type": "array", "minItems": 1, "items": _EXPR}]},
    "leaving": {"anyOf": [{"enum": ["ignore", "delete"]}, {"$ref": "#/definitions/leaving"}]},
    "write_back": {
        "anyOf": [
            {"enum": [*WRITE_BACK_KEYS, "message"]},
            _SCALAR,
            *(
                {"type": "object", "required": [key], "properties": {key: _SCALAR}, "additionalProperties": False}
                for key in ("key", "const")
            ),
        ]
    },
}


def json_schema() -> Schema:
    """A schema of draft 7 for a whole mapping file; every key carries its meaning and an example."""
    definitions = {name: _section(name) for name in FORMS if name != "mapping"}
    definitions["rule"] = {
        "type": ["string", "number", "boolean", "null", "object"],
        "if": {"type": "object"},
        "then": {
            "if": {"required": ["each"]},
            "then": {"$ref": "#/definitions/each"},
            "else": {
                "if": {"required": ["rows"]},
                "then": {"$ref": "#/definitions/fixed"},
                "else": {"$ref": "#/definitions/value"},
            },
        },
    }
    return {"$schema": DRAFT, "title": "A mapping", **_section("mapping"), "definitions": definitions}


def _section(name: str) -> Schema:
    forms = FORMS[name]
    schema: Schema = {
        "type": "object",
        "properties": {form.key: _form(form) for form in forms},
        "additionalProperties": False,
    }
    required = [form.key for form in forms if form.required]
    if required:
        schema["required"] = required
    return schema | _MORE.get(name, {})


def _form(form: Form) -> Schema:
    kind = _kind(form.kind, form)
    # Beside a `$ref` draft 7 ignores every other key, the description too.
    schema: Schema = {"description": form.meaning, **({"allOf": [kind]} if "$ref" in kind else kind)}
    if form.example:
        schema["examples"] = [form.example]
    return schema


def _kind(kind: str, form: Form) -> Schema:
    head, _, rest = kind.partition(":")
    match head:
        case "list":
            return {"type": "array", "items": _kind(rest, form)}
        case "one_or_list":
            one = _kind(rest, form)
            return {"anyOf": [one, {"type": "array", "minItems": 1, "items": one}]}
        case "map":
            return {"type": "object", "additionalProperties": _kind(rest, form)}
        case "section":
            return {"$ref": f"#/definitions/{rest}"}
        case "choice":
            return {"enum": list(form.choices)}
        case "choice_or_flag":
            return {"enum": [*form.choices, True, False]}
        case _:
            return dict(_SIMPLE[head])


def _one_start() -> Schema:
    """A value starts in exactly one place, or with `calc` alone; `from` also feeds `first: true` and `call`."""
    own = [origin for origin in ORIGINS if origin not in ("from", "first")]
    listed = {"required": ["first"], "properties": {"first": {"not": {"const": True}}}}
    from_alone = {"required": ["from"], "not": {"required": ["call"]}}
    anything = {"anyOf": [{"required": [origin]} for origin in ORIGINS]}
    return {
        "oneOf": [
            from_alone,
            listed,
            *({"required": [origin]} for origin in own),
            {"required": ["calc"], "not": anything},
        ],
        "if": {"required": ["first"], "properties": {"first": {"const": True}}},
        "then": {"required": ["from"]},
    }


def _needs(key: str, *any_of: str) -> Schema:
    return {key: {"anyOf": [{"required": [other]} for other in any_of]}}


# What the table can't say: keys that exclude or need each other.
_MORE: dict[str, Schema] = {
    "value": {
        **_one_start(),
        "dependencies": {
            "apportion": ["over"],
            "over": ["apportion"],
            "with": ["join"],
            **_needs("take", "lookup", "ref"),
            **{key: ["ref"] for key in ("by", "facet", "optional", "wait")},
        },
    },
    "each": {"oneOf": [{"required": ["fields"]}, {"required": ["value"]}]},
    "related": {"oneOf": [{"required": ["where"]}, {"required": ["id"]}], "dependencies": {"of": ["id"]}},
    "leaving": {"minProperties": 1, "maxProperties": 1},
    "lookup": {
        "additionalProperties": _SCALAR,
        "dependencies": {"table": ["keys"], "keys": ["table"], "file": {"not": {"required": ["table"]}}},
    },
    "test": {
        "anyOf": [
            {"required": [key]}
            for key in ("expect", "expect_only", "expect_error", "expect_filtered", "expect_waiting", "expect_actions")
        ]
    },
}
