"""Where each action lives: stock objects and custom ones have different paths."""

from __future__ import annotations

FIND_SIMPLE = "/cgi/crm/custom/v2/data/findSimple"  # for both kinds
DESCRIBE = "/cgi/crm/v2/object/describe"
OBJECTS = "/cgi/crm/v2/object/list"
LOCK = "/cgi/crm/v2/object/lock"
UNLOCK = "/cgi/crm/v2/object/unlock"


def is_custom(object: str) -> bool:
    return object.endswith("__c")


def data_path(object: str, action: str) -> str:
    """The path of create, update, get, query, invalid, recover, delete or changeOwner for this object."""
    kind = "custom/v2" if is_custom(object) else "v2"
    return f"/cgi/crm/{kind}/data/{action}"
