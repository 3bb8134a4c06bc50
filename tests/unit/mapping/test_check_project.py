"""What the check finds only in a whole project: circles of references, owners of two-way fields, parameters."""

from __future__ import annotations

from textwrap import dedent

from hub.domain.schema import Capabilities, Field, FieldType, ObjectSchema
from hub.mapping.check import check_project
from hub.mapping.check_scope import Schemas
from hub.mapping.load import load


def schema(name: str, id_field: str, **references: str) -> ObjectSchema:
    fields = {field: Field(field) for field in ("name", "tax", "limit")}
    for field, object_ in references.items():
        fields[field] = Field(field, FieldType.REFERENCE, reference=object_)
    return ObjectSchema(name, name, id_field, fields, capabilities=Capabilities(create=True, update=True))


SCHEMAS: Schemas = {
    ("crm", "Account"): schema("Account", "_id", contact="Contact", parent="Account", site="Site"),
    ("crm", "Contact"): schema("Contact", "_id", account="Account", site="Site"),
    ("crm", "Site"): schema("Site", "_id", account="Account"),
    ("erp", "Customer"): schema("Customer", "ID", contact="Person", parent="Customer", site="Place"),
    ("erp", "Person"): schema("Person", "ID", account="Customer", site="Place"),
    ("erp", "Place"): schema("Place", "ID", account="Customer"),
}
OBJECTS = {"customer": ("Account", "Customer"), "contact": ("Contact", "Person"), "site": ("Site", "Place")}


def outward(entity: str, *fields: str) -> str:
    crm, erp = OBJECTS[entity]
    head = f"""\
        mapping: {entity}-to-erp
        entity: {entity}
        source: {{system: crm, object: {crm}}}
        target: {{system: erp, object: {erp}}}
        fields:
        """
    return dedent(head) + "".join(f"  {field}\n" for field in ("name: name", *fields))


def inward(entity: str, *fields: str) -> str:
    crm, erp = OBJECTS[entity]
    head = f"""\
        mapping: {entity}-to-crm
        entity: {entity}
        source: {{system: erp, object: {erp}}}
        target: {{system: crm, object: {crm}}}
        fields:
        """
    return dedent(head) + "".join(f"  {field}\n" for field in fields)


def check(*texts: str, params: tuple[str, ...] | None = None) -> list[str]:
    mappings = [load(text, f"{text.split()[1]}.yaml") for text in texts]
    return [str(problem) for problem in check_project(mappings, SCHEMAS, params=params)]


# ---- circles ----


def test_a_circle_of_two_is_told_as_a_story_with_places() -> None:
    found = check(
        outward("customer", "contact: {from: contact, ref: contact}"),
        outward("contact", "account: {from: account, ref: customer}"),
    )
    assert found == [
        "contact-to-erp.yaml:7:33: A circle of references in erp: "
        "contact needs customer (account, contact-to-erp.yaml:7:33), "
        "customer needs contact (contact, customer-to-erp.yaml:7:33); make one of them `optional: true`"
    ]


def test_a_circle_of_three_is_reported_once() -> None:
    found = check(
        outward("customer", "contact: {from: contact, ref: contact}"),
        outward("contact", "site: {from: site, ref: site}"),
        outward("site", "account: {from: account, ref: customer}"),
    )
    assert len(found) == 1
    assert "contact needs site" in found[0]
    assert "site needs customer" in found[0]
    assert "customer needs contact" in found[0]


def test_one_optional_edge_opens_the_circle() -> None:
    for way_out in ("optional: true", "wait: 2h, else: none", "on: change"):
        assert not check(
            outward("customer", f"contact: {{from: contact, ref: contact, {way_out}}}"),
            outward("contact", "account: {from: account, ref: customer}"),
        )


def test_a_tree_of_records_of_one_kind_is_no_circle() -> None:
    assert not check(outward("customer", "parent: {from: parent, ref: customer}"))


def test_references_in_opposite_directions_are_no_circle() -> None:
    assert not check(
        outward("customer", "contact: {from: contact, ref: contact}"),
        inward("contact", "account: {from: account, ref: customer}"),
    )


# ---- owners ----


def test_a_two_way_field_without_an_owner_is_found_in_both_directions() -> None:
    assert check(outward("customer"), inward("customer", "name: name")) == [
        "customer-to-crm.yaml:6:3: name: both directions map this field (customer-to-erp.yaml:6:3); "
        "add `owner: erp or crm`",
        "customer-to-erp.yaml:6:3: name: both directions map this field (customer-to-crm.yaml:6:3); "
        "add `owner: crm or erp`",
    ]


def test_an_owner_on_one_side_only_leaves_the_other_to_mend() -> None:
    assert check(outward("customer"), inward("customer", "name: {from: name, owner: crm}")) == [
        "customer-to-erp.yaml:6:3: name: both directions map this field (customer-to-crm.yaml:6:3); "
        "add `owner: crm or erp`",
    ]


def test_both_sides_name_the_same_owner() -> None:
    found = check(
        outward("customer", "tax: {from: tax, owner: crm}").replace("  name: name\n", ""),
        inward("customer", "tax: {from: tax, owner: erp}"),
    )
    assert found == [
        "customer-to-crm.yaml:6:20: tax: the owner is erp here, and crm in the other direction "
        "(customer-to-erp.yaml:6:3)",
        "customer-to-erp.yaml:6:20: tax: the owner is crm here, and erp in the other direction "
        "(customer-to-crm.yaml:6:3)",
    ]


def test_an_owner_is_one_of_the_two_systems() -> None:
    found = check(
        outward("customer", "tax: {from: tax, owner: crn}").replace("  name: name\n", ""),
        inward("customer", "tax: {from: tax, owner: crm}"),
    )
    assert found == ["customer-to-erp.yaml:6:20: tax: the owner is crm or erp, not crn; did you mean crm?"]


def test_an_owner_of_a_one_way_field_is_called_out() -> None:
    found = check(
        outward("customer", "tax: {from: tax, owner: crm}").replace("  name: name\n", ""),
        inward("customer", "limit: limit"),
    )
    assert found == [
        "customer-to-erp.yaml:6:20: warning: tax: nothing maps this field back; `owner:` does nothing here"
    ]


def test_fields_that_only_cross_are_no_pair() -> None:
    assert not check(
        outward("customer", "tax: tax").replace("  name: name\n", ""), inward("customer", "limit: limit", "name: tax")
    )


def test_a_table_that_both_directions_map_needs_an_owner_too() -> None:
    out = outward("customer", "places: {each: sites, key: id, fields: {name: name}}").replace("  name: name\n", "")
    back = inward("customer", "sites: {each: places, key: id, fields: {name: name}}")
    found = [line for line in check(out, back) if "both directions" in line]
    assert found == [
        "customer-to-crm.yaml:6:3: sites: both directions map this field (customer-to-erp.yaml:6:3); "
        "add `owner: erp or crm`",
        "customer-to-erp.yaml:6:3: places: both directions map this field (customer-to-crm.yaml:6:3); "
        "add `owner: crm or erp`",
    ]
    owned = [text.replace("key: id", "key: id, owner: crm") for text in (out, back)]
    assert not [line for line in check(*owned) if "owner" in line]


# ---- parameters ----


def test_a_parameter_that_hub_yaml_lacks_is_an_error() -> None:
    assert check(outward("customer", "tax: {param: ogr}", "limit: {param: org}"), params=("org",)) == [
        "customer-to-erp.yaml:7:9: The parameter ogr is not defined under `params:` of hub.yaml; did you mean org?"
    ]


def test_a_parameter_of_hub_yaml_that_no_mapping_uses_is_called_out() -> None:
    assert check(outward("customer", "tax: {param: org}"), params=("org", "old")) == [
        "warning: The parameter old is used by no mapping"
    ]


def test_without_hub_yaml_parameters_pass() -> None:
    assert not check(outward("customer", "tax: {param: ogr}"))
