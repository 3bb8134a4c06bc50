"""Normalisers of match keys: what two writings of the same name, number or code have in common."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

_BRACKETS = re.compile(r"[\s\-—·.,，。、'\"“”‘’&/\\()\[\]{}<>《》【】]+")
_COMPANY_ENDS = (
    "有限责任公司", "股份有限公司", "有限公司", "集团公司", "公司", "co ltd", "company limited", "limited", "ltd",
    "inc", "llc", "gmbh", "corporation", "corp",
)  # fmt: skip
_NOT_DIGIT = re.compile(r"[^0-9]")
_NOT_CODE = re.compile(r"[^0-9A-Z]")


def company_name(text: str) -> str:
    """A firm's name without its legal form, blanks, punctuation and case; full-width letters as half-width."""
    name = unicodedata.normalize("NFKC", text).casefold()
    spaced = " ".join(_BRACKETS.sub(" ", name).split())
    for end in _COMPANY_ENDS:
        if spaced.endswith(end) and len(spaced) > len(end):
            spaced = spaced[: -len(end)]
            break
    return spaced.replace(" ", "") or name.strip()


def phone(text: str) -> str:
    """The digits, without the country's and trunk prefixes of Chinese numbers."""
    digits = _NOT_DIGIT.sub("", unicodedata.normalize("NFKC", text))
    if digits.startswith("0086"):
        digits = digits[4:]
    elif digits.startswith("86") and len(digits) == 13:
        digits = digits[2:]
    return digits


def email(text: str) -> str:
    return text.strip().casefold()


def tax_no(text: str) -> str:
    """The letters and digits in upper case."""
    return _NOT_CODE.sub("", unicodedata.normalize("NFKC", text).upper())


def casefold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


NORMALISERS: Mapping[str, Callable[[str], str]] = {
    "company_name": company_name,
    "phone": phone,
    "email": email,
    "tax_no": tax_no,
    "casefold": casefold,
}
