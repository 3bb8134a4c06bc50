from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.domain.normalise import NORMALISERS, company_name, email, normalise, phone, tax_no


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (" ＡＢＣ（中国）有限责任公司", "abc(中国)有限公司"),
        ("北京 纷享【科技】股份有限公司", "北京纷享(科技)股份有限公司"),
        ("Acme, Inc.", "ACME  Incorporated"),
        ("O'Brien–Smith Ltd.", "O’Brien-Smith limited"),
        ("Foo Co., Ltd.", "foo company limited"),
    ],
)
def test_one_company_has_one_name(left: str, right: str) -> None:
    assert company_name(left) == company_name(right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("上海甲有限公司", "上海乙有限公司"),
        ("甲股份有限公司", "甲有限公司"),
        ("甲(北京)有限公司", "甲(上海)有限公司"),
        ("Acme Inc", "Acme Ltd"),
        ("Acme 1", "Acme 11"),
    ],
)
def test_two_companies_stay_two(left: str, right: str) -> None:
    assert company_name(left) != company_name(right)


@pytest.mark.parametrize(
    ("number", "wanted"),
    [
        ("138-0013-8000", "+8613800138000"),
        ("０１０ ８８８８６６６６", "+861088886666"),
        ("010-88886666转8", "+861088886666;ext=8"),
        ("+1 650 253 0000", "+16502530000"),
        ("call me", None),
        ("12", None),
    ],
)
def test_phone(number: str, wanted: str | None) -> None:
    assert phone(number) == wanted


def test_phone_is_read_in_its_region() -> None:
    assert phone("650-253-0000", "US") == "+16502530000"


def test_tax_no_and_email() -> None:
    assert tax_no(" 91110108-ＭＡ01abc ") == "91110108MA01ABC"
    assert email(" <Foo@Bar.COM> ") == "foo@bar.com"
    assert email("no address") is None


def test_what_cannot_be_read_is_compared_as_text() -> None:
    assert normalise("phone", "Ask  Reception") == "ask reception"
    assert normalise("phone", None) is None
    with pytest.raises(KeyError):
        normalise("shoe_size", "42")


@given(st.sampled_from(sorted(NORMALISERS)), st.text())
def test_any_text_can_be_normalised(name: str, text: str) -> None:
    assert isinstance(normalise(name, text), str)


@given(st.sampled_from(sorted(NORMALISERS)), st.text(alphabet="aZ09 ＡＺ０（）(),.-—'@+中国有限责任公司股份转Ltdinc"))
def test_normalising_again_changes_nothing(name: str, text: str) -> None:
    once = normalise(name, text)
    assert normalise(name, once) == once
