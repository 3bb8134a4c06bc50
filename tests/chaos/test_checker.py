"""The checker on made-up evidence: nothing where all is well, and every figure where something is not."""

from __future__ import annotations

from collections.abc import Callable

import orjson
import pytest

from tests.chaos.checker import WRITES_LIMIT
from tests.chaos.truth_company import (
    ACCOUNT,
    CUSTOMER,
    DOCUMENT,
    FREIGHT,
    LINE,
    MATERIAL,
    ORDER,
    PAYMENT,
    PRODUCT,
    RECEIPT,
    Company,
    Fields,
    company_at_rest,
    entry,
    receipt,
)
from tests.chaos.truth_findings import Kind, went_back

Harm = Callable[[Company], object]


@pytest.fixture
def company() -> Company:
    return company_at_rest()


def test_where_all_is_well_every_figure_is_zero(company: Company) -> None:
    figures = company.figures()
    assert figures.details == []
    assert figures.clean
    assert figures.json() == {**dict.fromkeys((kind.value for kind in Kind), 0), "writes_per_change": 0.8}


# -- each figure, provoked -----------------------------------------------------------------------------------------


def copied(made: Company, side: str, object: str, id: str, actor: str = "api") -> None:
    """The same record once more, under another id."""
    (row, *_) = made.records[side][object].values()
    made.write(side, actor, object, id, dict(row))


def forget(side: str, object: str, id: str) -> Harm:
    """Something that was never there."""

    def harm(made: Company) -> None:
        del made.records[side][object][id]
        made.journals[side] = [one for one in made.journals[side] if (one["object"], one["id"]) != (object, id)]

    return harm


def rows(*entries: Fields) -> Harm:
    return lambda made: made.hub("erp", DOCUMENT, "d1", FSaleOrderEntry=list(entries))


def phone_back(made: Company) -> None:
    for phone in ("2", "3"):
        made.person("crm", ACCOUNT, "a1", tel=phone)
    for phone in ("3", "2", "3"):
        made.hub("erp", CUSTOMER, "c1", FTEL=phone)


def line_back(made: Company) -> None:
    made.person("crm", LINE, "l1", quantity="4.0000", subtotal="2400.00")
    for quantity in ("4", "2", "4"):
        made.hub("erp", DOCUMENT, "d1", FSaleOrderEntry=[entry("l1", 1, quantity), entry("l2", 2)])


def state_back(made: Company) -> None:
    made.person("erp", DOCUMENT, "d1", FCloseStatus="B")
    for shown in ("已关闭", "已审核", "已关闭"):
        made.hub("crm", ORDER, "o1", erp_status__c=shown)
    made.person("crm", ORDER, "o1", order_status="99")


def second_of_one_source(made: Company) -> None:
    """Made of the same account under keys that it has had before, without the hub's stamp."""
    made.person("crm", ACCOUNT, "a1", name="旧名", tax_no__c="T0")
    made.hub(
        "erp", CUSTOMER, "c0", **{**made.records["erp"][CUSTOMER]["c1"], "FTAXREGISTERCODE": "T0", "FNumber": "C0"}
    )
    made.hub("erp", CUSTOMER, "c0", F_HUB_KEY=None, FName="旧名")
    first = next(one for one in made.journals["erp"] if one["id"] == "c0")
    first["after"]["F_HUB_KEY"] = None
    made.person("crm", ACCOUNT, "a1", name="华瑞", tax_no__c="T1")


def unrecorded(made: Company) -> None:
    made.person("crm", ACCOUNT, "a1", tel="2")
    made.person("erp", CUSTOMER, "c1", FTEL="8")
    made.hub("erp", CUSTOMER, "c1", FTEL="2")


def freight_taken(made: Company) -> None:
    lines = [entry("l1", 1), entry("l2", 2)]
    made.person("erp", DOCUMENT, "d1", FSaleOrderEntry=[*lines, FREIGHT])
    made.hub("erp", DOCUMENT, "d1", FSaleOrderEntry=lines)


def not_ours(made: Company) -> None:
    own = {**made.records["erp"][DOCUMENT]["d1"], "F_CRM_NO": None, "F_HUB_KEY": None, "FSaleOrderEntry": []}
    made.write("erp", "person", DOCUMENT, "d9", {**own, "FBillNo": "X9"})
    made.hub("erp", DOCUMENT, "d9", FNote="changed")


def withdrawn(made: Company) -> None:
    for key in ("l1", "l2"):
        made.person("crm", LINE, key)
    made.person("crm", ORDER, "o1")


HARM: dict[str, tuple[Kind, Harm, str]] = {
    "a customer did not arrive": (Kind.LOST, forget("erp", CUSTOMER, "c1"), "华瑞 did not arrive in the erp"),
    "an order did not arrive": (Kind.LOST, forget("erp", DOCUMENT, "d1"), "SO-1 did not arrive"),
    "a product did not arrive": (Kind.LOST, forget("crm", PRODUCT, "p1"), "WL1 did not arrive in the crm"),
    "a receipt did not arrive": (Kind.LOST, forget("crm", PAYMENT, "y1"), "R1 did not arrive"),
    "a customer of the ERP did not arrive": (
        Kind.LOST,
        lambda made: made.write("erp", "person", CUSTOMER, "c2", {**erp_customer(made), "FName": "瑞恒"}),
        "C2 of the ERP did not arrive",
    ),
    "an order stands twice": (Kind.DUPLICATES, lambda made: copied(made, "erp", DOCUMENT, "d2"), "d2 beside d1"),
    "a customer stands twice": (Kind.DUPLICATES, lambda made: copied(made, "erp", CUSTOMER, "c2"), "c2 beside c1"),
    "a second one has other keys": (Kind.DUPLICATES, second_of_one_source, "another one stands for"),
    "a payment stands twice": (Kind.DUPLICATES, lambda made: copied(made, "crm", PAYMENT, "y2"), "y2 beside y1"),
    "a line stands twice": (Kind.DUPLICATES, rows(entry("l1", 1), entry("l2", 2), entry("l2", 3)), "line l2 stands 2"),
    "a field is old": (Kind.STALE, lambda made: made.person("crm", ACCOUNT, "a1", tel="2"), "FTEL is '1'"),
    "a line is missing": (Kind.STALE, rows(entry("l1", 1)), "is missing"),
    "a quantity is old": (Kind.STALE, rows(entry("l1", 1, "7"), entry("l2", 2)), "should not stand"),
    "a document is not audited": (
        Kind.STALE,
        lambda made: made.hub("erp", DOCUMENT, "d1", FDocumentStatus="B"),
        "has to be audited in the ERP and is 审核中",
    ),
    "a cancelled order lives on": (
        Kind.STALE,
        lambda made: made.person("crm", ORDER, "o1", order_status="99"),
        "cancelled in the CRM and 已审核",
    ),
    "a withdrawn order lives on": (Kind.STALE, withdrawn, "taken out of the CRM and lives on"),
    "a bounced receipt stands": (
        Kind.STALE,
        lambda made: made.person("erp", RECEIPT, "r1", FDocumentStatus="D"),
        "is not booked in the ERP",
    ),
    "a price is old": (
        Kind.STALE,
        lambda made: made.person("erp", MATERIAL, "m1", F_HUB_PRICE="700.000000"),
        "price is 600.00 and has to be 700.00",
    ),
    "people are told the wrong thing": (
        Kind.STALE,
        lambda made: made.hub("crm", ORDER, "o1", sync__c="失败"),
        "sync__c is '失败'",
    ),
    "the number did not come home": (
        Kind.STALE,
        lambda made: made.hub("crm", ORDER, "o1", erp_no__c=None),
        "erp_no__c is None",
    ),
    "a phone went back": (Kind.DISORDER, phone_back, "FTEL went back to '2' after '3'"),
    "a line went back": (Kind.DISORDER, line_back, "line l1 went back"),
    "a state went back": (Kind.DISORDER, state_back, "erp_status__c went back to '已审核'"),
    "a person's value is gone unrecorded": (Kind.OVERWRITTEN, unrecorded, "FTEL '8', set by a person"),
    "the other side's field was changed": (
        Kind.OVERWRITTEN,
        lambda made: made.hub("crm", ACCOUNT, "a1", tel="7"),
        "tel, which is the crm's own",
    ),
    "an unmapped field was changed": (
        Kind.OVERWRITTEN,
        lambda made: made.hub("erp", DOCUMENT, "d1", FReceiveAddress="门口"),
        "the hub changed FReceiveAddress",
    ),
    "a bystander was changed": (
        Kind.OVERWRITTEN,
        lambda made: made.hub("erp", MATERIAL, "m1", FOld="x"),
        "BD_MATERIAL m1 in the erp: the hub changed FOld",
    ),
    "somebody else's document was changed": (Kind.OVERWRITTEN, not_ours, "d9 in the erp is none of the hub's"),
    "a foreign row was taken out": (Kind.OVERWRITTEN, freight_taken, "own line 99 was taken out"),
    "a record was deleted that the hub did not make": (
        Kind.OVERWRITTEN,
        lambda made: made.write("crm", "api", LINE, "l1", None),
        "SalesOrderProductObj l1 in the crm was deleted by the hub",
    ),
    "the ID map points at nothing": (
        Kind.ORPHANS,
        lambda made: made.identity("erp", CUSTOMER, "c7"),
        "erp BD_Customer c7, which does not exist",
    ),
    "the ID map points at a row that is nowhere": (
        Kind.ORPHANS,
        lambda made: made.identity("erp", f"{DOCUMENT}.FSaleOrderEntry", "7"),
        "FSaleOrderEntry 7",
    ),
    "a delivery is still in doubt": (
        Kind.STUCK,
        lambda made: made.delivery("orders-to-erp", "o1", "doubt", reason="unknown"),
        "o1 is doubt (unknown)",
    ),
    "a delivery waits for what is there": (
        Kind.STUCK,
        lambda made: made.delivery("orders-to-erp", "o1", "waiting", reason="reference"),
        "o1 is waiting",
    ),
    "a delivery is held for nothing": (
        Kind.STUCK,
        lambda made: made.delivery("customers-to-erp", "a1", "held", reason="several"),
        "a1 is held (several)",
    ),
    "what had to die lives": (
        Kind.STUCK,
        lambda made: made.dead.add(("orders-to-erp", "o1")),
        "o1 has to be dead and is done",
    ),
}


def erp_customer(made: Company) -> Fields:
    return {**made.records["erp"][CUSTOMER]["c1"], "FNumber": "C2", "FTAXREGISTERCODE": "T2", "F_HUB_KEY": None}


@pytest.mark.parametrize("name", HARM)
def test_what_is_wrong_is_found_and_named(company: Company, name: str) -> None:
    kind, harm, words = HARM[name]
    harm(company)
    figures = company.figures()
    assert kind.value in figures.wrong
    assert [line for line in figures.details if line.startswith(f"{kind}: ") and words in line], figures.details


def test_every_figure_can_be_provoked() -> None:
    assert {kind for kind, *_ in HARM.values()} == set(Kind)


def test_a_loop_shows_in_the_writes_a_change(company: Company) -> None:
    for _ in range(int(WRITES_LIMIT * company.changes)):
        company.hub("crm", ORDER, "o1", sync__c="已同步")
    assert company.figures().wrong == {"writes_per_change": WRITES_LIMIT + 0.8}


# -- what is no harm -----------------------------------------------------------------------------------------------


def recorded(made: Company) -> None:
    unrecorded(made)
    made.attempts.append({"target_id": "c1", "before": orjson.dumps({"FTEL": "8"}).decode()})


def owner_came_later(made: Company) -> None:
    made.person("erp", CUSTOMER, "c1", FTEL="8")
    made.person("crm", ACCOUNT, "a1", tel="2")
    made.hub("erp", CUSTOMER, "c1", FTEL="2")


def there_and_back(made: Company) -> None:
    for phone in ("2", "1"):
        made.person("crm", ACCOUNT, "a1", tel=phone)
        made.hub("erp", CUSTOMER, "c1", FTEL=phone)


def freight_stays(made: Company) -> None:
    made.person("erp", DOCUMENT, "d1", FSaleOrderEntry=[entry("l1", 1), entry("l2", 2), FREIGHT])
    made.hub("erp", DOCUMENT, "d1", FSaleOrderEntry=[entry("l1", 1), entry("l2", 2), FREIGHT])


def dead_on_purpose(made: Company) -> None:
    forget("erp", CUSTOMER, "c1")(made)
    made.hub("crm", ACCOUNT, "a1", erp_code__c=None)
    for name in ("identities", "deliveries"):
        setattr(made, name, [])
    made.dead.add(("customers-to-erp", "a1"))
    made.delivery("customers-to-erp", "a1", "dead", reason="refused")


def blocked_by_a_receipt(made: Company) -> None:
    made.person("crm", LINE, "l1", quantity="5.0000", subtotal="3000.00")
    made.delivery("orders-to-erp", "o1", "blocked", reason="blocked")


def waits_truly(made: Company) -> None:
    made.person("erp", RECEIPT, "r2", **{**receipt("R2"), "FCONTACTUNIT.FNumber": "C9"})
    made.delivery("receipts-to-crm", "r2", "waiting", reason="reference")


def known_to_be_deleted(made: Company) -> None:
    made.identity("crm", ORDER, "o9")
    made.delivery("orders-to-erp", "o9", "filtered", deleted=True)


NO_HARM: dict[str, Harm] = {
    "a person's copy of a document, stamp and all": lambda made: copied(made, "erp", DOCUMENT, "d2", "person"),
    "a person's value is written down before it is put right": recorded,
    "the owner changed the field after that person": owner_came_later,
    "a value that comes back in the source": there_and_back,
    "a foreign row that stays": freight_stays,
    "an order that a receipt keeps from being re-opened": blocked_by_a_receipt,
    "a receipt whose customer nobody brings": waits_truly,
    "a person took a product out of the CRM": lambda made: (
        made.person("crm", PRODUCT, "p9") if "p9" in made.records["crm"][PRODUCT] else None
    ),
    "a record that the ledger knows to be deleted": known_to_be_deleted,
    "what was taken out and is a tombstone": lambda made: made.identity("erp", CUSTOMER, "c9", tombstone=1),
}


@pytest.mark.parametrize("name", NO_HARM)
def test_what_is_no_harm_is_not_found(company: Company, name: str) -> None:
    NO_HARM[name](company)
    assert company.figures().details == []


def test_what_had_to_die_is_neither_lost_nor_stuck(company: Company) -> None:
    dead_on_purpose(company)
    figures = company.figures()
    assert not figures.stuck
    assert not [line for line in figures.details if line.startswith("lost: customer 华瑞 ")]


@pytest.mark.parametrize(
    ("versions", "written", "found"),
    [
        ("abc", "abc", None),
        ("abc", "ac", None),
        ("aba", "aba", None),
        ("abc", "acb", ("b", "c")),
        ("abab", "abab", None),
        ("ab", "xb", None),
    ],
)
def test_order_is_told_from_the_sources_versions(versions: str, written: str, found: tuple[str, str] | None) -> None:
    assert went_back(list(versions), list(written)) == found
