"""Business keys brought to one spelling, so that two systems' records of one thing meet."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from types import MappingProxyType

import phonenumbers

from hub.domain.record import Value

# How companies write their legal form, to one short form. The longest spelling first.
_CHINESE_FORMS = (
    ("股份有限责任公司", "股份公司"),
    ("股份有限公司", "股份公司"),
    ("有限责任公司", "有限公司"),
    ("有限公司", "有限公司"),
    ("股份公司", "股份公司"),
)
_LATIN_FORMS = {
    "limited": "ltd",
    "incorporated": "inc",
    "corporation": "corp",
    "company": "co",
    "proprietary": "pty",
    "private": "pvt",
}
_BRACKETS = str.maketrans("()[]{}<>【】〔〕［］〈〉《》「」『』", "()" * 11)
_DASHES = re.compile("[‐‑‒–—―−ー-]+")
_QUOTES = re.compile("[\"'`´‘’“”]")
_CJK = r"\u3400-\u9fff\uf900-\ufaff"
_BLANK_BESIDE_CJK = re.compile(rf"(?<=[{_CJK}()]) +| +(?=[{_CJK}()])")
_EXTENSION = re.compile("转|分机|轉")
_TAX_NO_NOISE = re.compile(r"[\s\-_.:/·]+")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def company_name(name: str) -> str:
    """A company's name for comparison: width, case, blanks, brackets, dashes and the legal form's spelling made equal.

    ' ＡＢＣ（中国）有限责任公司' and 'abc(中国)有限公司' meet; nothing that tells two companies apart is taken away.
    """
    text = unicodedata.normalize("NFKC", name).casefold().translate(_BRACKETS)
    text = _DASHES.sub("-", _QUOTES.sub("", text))
    words = [_LATIN_FORMS.get(word, word) for word in re.split(r"[\s,.]+", text) if word]
    text = _BLANK_BESIDE_CJK.sub("", " ".join(words))
    for long, short in _CHINESE_FORMS:
        if text.endswith(long):
            return text[: -len(long)] + short
    return text


def phone(number: str, region: str = "CN") -> str | None:
    """A telephone number as E.164 ('+8613800138000'), extension as ';ext=8'. None if it is no number of that region."""
    try:
        parsed = phonenumbers.parse(_EXTENSION.sub(" ext ", unicodedata.normalize("NFKC", number)), region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(parsed):
        return None
    plain = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return f"{plain};ext={parsed.extension}" if parsed.extension else plain


def tax_no(code: str) -> str:
    """A tax or registration code: half-width capitals and digits, without blanks and separators."""
    return _TAX_NO_NOISE.sub("", unicodedata.normalize("NFKC", code)).upper()


def email(address: str) -> str | None:
    """An e-mail address in lower case, half width, without 'mailto:' and brackets. None if it is none."""
    text = unicodedata.normalize("NFKC", address).strip().casefold().removeprefix("mailto:").strip("<>; ,")
    return text if _EMAIL.fullmatch(text) else None


def casefold(text: str) -> str:
    """Any text without regard to case, width and the number of blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


NORMALISERS: Mapping[str, Callable[[str], str | None]] = MappingProxyType(
    {"company_name": company_name, "phone": phone, "email": email, "tax_no": tax_no, "casefold": casefold}
)


def normalise(name: str, value: Value) -> Value:
    """A value under the normaliser of that name; what it can't read is compared as plain text. Raises KeyError."""
    normaliser = NORMALISERS[name]
    if not isinstance(value, str):
        return value
    return normaliser(value) or casefold(value)
