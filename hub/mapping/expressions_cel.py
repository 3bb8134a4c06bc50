"""CEL beside the mapping language: what an expression reads, and how it is compiled and evaluated."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

from cel_expr_python import cel

from hub.domain.schema import Field, FieldType
from hub.domain.values import DoesNotFit, is_blank, parse

LET = "let_"  # how `let` is called inside CEL, whose grammar keeps the word for itself
MAX_LENGTH = 4000

_LITERAL = re.compile(r"""(?P<quote>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')""")
_LET = re.compile(_LITERAL.pattern + r"|(?<![\w.])let(?=\s*[.\[])")
_CHAIN = re.compile(r"(?<![\w.])(record|row|let|param)\b((?:\s*\.\s*[^\W\d]\w*)*)(\s*\[)?")
_MEMBER = re.compile(r"\.\s*([^\W\d]\w*)")
_RENAMED = re.compile(_LITERAL.pattern + r"|" + _CHAIN.pattern.removesuffix(r"(\s*\[)?"))
_VARIABLE = re.compile(r"\.\s*(?:exists|exists_one|all|filter|map)\s*\(\s*([^\W\d]\w*)\s*,")


class NotCel(ValueError):
    """The expression does not parse, or names something that is not there."""


@dataclass(frozen=True, slots=True)
class Use:
    """A chain that an expression reads: `record.account.tax_no` is root `record`, names `account`, `tax_no`.

    `open` tells that the value there is indexed or used as a whole, so that more of it may be read than the names say.
    """

    root: str
    names: tuple[str, ...]
    open: bool


def uses(text: str) -> list[Use]:
    """The chains of names that an expression reads; literals don't count."""
    bare = _LITERAL.sub('""', text)
    found = []
    for chain in _CHAIN.finditer(bare):
        names = tuple(_MEMBER.findall(chain[2]))
        # A call is no member: `record.name.startsWith("a")` reads `name`.
        if names and bare[chain.end(2) :].lstrip().startswith("("):
            names = names[:-1]
        found.append(Use(chain[1], names, bool(chain[3]) or not names))
    return found


def renamed(text: str, chain: Callable[[str, tuple[str, ...]], tuple[str, ...]], member: Callable[[str], str]) -> str:
    """The expression with other names: `chain` gives those that follow a root, `member` the one that follows an index
    or the variable of a comprehension. Literals stay.
    """

    def of_chain(found: re.Match[str]) -> str:
        if found["quote"]:
            return found[0]
        root, names = found[2], tuple(_MEMBER.findall(found[3]))
        changed = chain(root, names)
        return found[0] if changed == names else ".".join((root, *changed))

    def of_member(found: re.Match[str]) -> str:
        return found[0] if found["quote"] else found["before"] + member(found["name"])

    before = "|".join([r"\]", *(rf"(?<![\w.]){name}" for name in set(_VARIABLE.findall(text)))])
    below = rf"{_LITERAL.pattern}|(?P<before>(?:{before})\s*\.\s*)(?P<name>[^\W\d]\w*)"
    return re.sub(below, of_member, _RENAMED.sub(of_chain, text))


def members(text: str) -> frozenset[str]:
    """Every name that stands behind a dot: what a comprehension may read of the rows it goes over."""
    return frozenset(_MEMBER.findall(_LITERAL.sub('""', text)))


class CelCompiler:
    """Compiles expressions of one mapping, each once."""

    def __init__(self) -> None:
        anything = cel.Type.Map(cel.Type.STRING, cel.Type.DYN)
        self._env = cel.NewEnv(variables=dict.fromkeys(("record", "row", LET, "param"), anything))
        self._known: dict[str, Any] = {}

    def expression(self, text: str) -> Any:
        """The compiled expression. Raises NotCel with CEL's own words."""
        if text not in self._known:
            if len(text) > MAX_LENGTH:
                raise NotCel(f"is longer than {MAX_LENGTH} characters")
            try:
                self._known[text] = self._env.compile(_LET.sub(lambda found: found["quote"] or LET, text))
            except RuntimeError as error:
                raise NotCel(_words(str(error))) from None
        return self._known[text]

    def condition(self, text: str) -> Callable[[dict[str, Any]], bool]:
        """A function from the variables to true or false. It raises DoesNotFit when the expression gives neither."""
        evaluate = self.expression(text).eval

        def condition(variables: dict[str, Any]) -> bool:
            found = evaluate(data=variables).value()
            if found is True or found is False:
                return found
            raise DoesNotFit("cel", f"`{text}` is neither true nor false: {_said(found)}")

        return condition

    def value(self, text: str) -> Callable[[dict[str, Any]], Any]:
        """A function from the variables to a value without floats."""
        evaluate = self.expression(text).eval

        def value(variables: dict[str, Any]) -> Any:
            found = evaluate(data=variables)
            if found.type() == cel.Type.ERROR:
                raise DoesNotFit("cel", f"`{text}`: {_said(found.value())}")
            return _plain(found.plain_value())

        return value


def _words(text: str) -> str:
    """CEL's message without its drawing of the place."""
    return text.splitlines()[0].removeprefix("INVALID_ARGUMENT: ").removeprefix("ERROR: <input>:")


def _said(found: Any) -> str:
    # CEL's own messages name types and fields, but may quote a value after 'for'.
    return str(found).split(" for ")[0][:120] if isinstance(found, str) else f"it is {type(found).__name__}"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        number = Decimal(repr(value))
        if not number.is_finite():
            raise DoesNotFit("cel", "the result is no finite number")
        return number
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if value is None or isinstance(value, (str, int, bool, date, datetime, time)):
        return value
    raise DoesNotFit("cel", f"a {type(value).__name__} is no value of a record")


def cel_value(field: Field | None) -> Callable[[Any], Any]:
    """A function from a field's value to what CEL sees: numbers as such, days and times as ISO text, blank as null."""
    if field is None or field.type in (FieldType.JSON, FieldType.FILE, FieldType.ROWS):
        return seen

    def convert(value: Any) -> Any:
        if value.__class__ is str and field.type not in _READ:
            return value or None
        return None if is_blank(value) else seen(parse(field, value))

    return convert


_READ = frozenset(
    {
        FieldType.INTEGER, FieldType.DECIMAL, FieldType.MONEY, FieldType.BOOLEAN, FieldType.DATE, FieldType.DATETIME,
        FieldType.TIME,
    }
)  # fmt: skip
_MAX_INTEGER = 2**63 - 1


def seen(value: Any) -> Any:
    """A value as CEL takes it."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value if abs(value) <= _MAX_INTEGER else float(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [seen(one) for one in value]
    if isinstance(value, dict):
        return {str(key): seen(one) for key, one in value.items()}
    return None
