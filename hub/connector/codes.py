"""A connector's `errors.yaml`: the vendor's refusals as data, that `hub.yaml` may extend."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from hub.domain.errors import InvalidInput, Place, Problem, VendorError
from hub.domain.outcome import Failure, Outcome, OutcomeKind


class Retry(StrEnum):
    """What helps against a refusal, beside the kind of its outcome."""

    NEVER = "never"
    WAIT = "wait"  # the same call again, later
    TOKEN = "token"  # noqa: S105 - a new log-in, then the same call once more
    DAY = "day"  # when the day's quota starts anew


class ErrorRule(BaseModel):
    """One rule: what the vendor said (`code`, a `match` found in the message, or both) and what it means.

    `code` may be a range of numbers ('10001..10015'); `wait` is seconds; `hint` the next step for a person.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str | None = Field(default=None, description="the vendor's code, or a range of numbers: '10001..10015'")
    match: str | None = Field(default=None, description="a regular expression that is found in the vendor's message")
    kind: OutcomeKind = Field(description="what it means for a write")
    retry: Retry = Field(default=Retry.NEVER, description="what helps: never, wait, token, day")
    wait: float | None = Field(default=None, ge=0, description="seconds to wait before the next try")
    hint: str | None = Field(default=None, description="what a person should do next")

    @field_validator("code", mode="before")
    @classmethod
    def _text(cls, code: Any) -> Any:
        return str(code) if isinstance(code, int) and not isinstance(code, bool) else code

    @field_validator("match")
    @classmethod
    def _pattern(cls, match: str | None) -> str | None:
        if match is not None:
            try:
                re.compile(match)
            except re.error as error:
                raise ValueError(f"'{match}' is no regular expression: {error}") from error
        return match

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.code is None and self.match is None:
            raise ValueError("a rule needs a code or a match")
        return self

    def fits(self, code: str | None, message: str) -> bool:
        if self.code is not None and not _code_fits(self.code, code):
            return False
        return self.match is None or re.search(self.match, message) is not None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a refusal means. `known=False`: no rule fits, so it counts as rejected with its full message."""

    kind: OutcomeKind
    retry: Retry = Retry.NEVER
    wait: float | None = None
    hint: str | None = None
    known: bool = True

    def outcome(self, message: str, *, code: str | None = None, field: str | None = None) -> Outcome:
        """The outcome of a write that was refused so."""
        return Outcome(self.kind, failure=Failure(message, code, field), retry_after=self.wait)

    def error(self, message: str, *, code: str | None = None) -> VendorError:
        """The error of a read that was refused so."""
        retryable = self.retry in {Retry.WAIT, Retry.TOKEN} or self.kind in {OutcomeKind.UNKNOWN, OutcomeKind.DOWN}
        return VendorError(message, code=code, retryable=retryable, retry_after=self.wait, hint=self.hint)


class ErrorTable:
    """Judges refusals: the first rule that fits, a deployment's own before the vendor's."""

    def __init__(self, rules: Sequence[ErrorRule], logger: logging.Logger | None = None) -> None:
        self._rules = tuple(rules)
        self._logger = logger or logging.getLogger("hub.connector.codes")

    @classmethod
    def load(cls, path: Path, extra: Sequence[ErrorRule] = (), logger: logging.Logger | None = None) -> ErrorTable:
        """Read an `errors.yaml` (a list of rules); `extra` are the settings' own and go first. Raises InvalidInput."""
        return cls([*extra, *parse_rules(path.read_text(encoding="utf-8"), str(path))], logger)

    def judge(self, code: str | None, message: str) -> Verdict:
        """What this code and message mean; an unknown one is logged, so that the table can grow."""
        for rule in self._rules:
            if rule.fits(code, message):
                return Verdict(rule.kind, rule.retry, rule.wait, rule.hint)
        self._logger.warning("unknown refusal, taken as rejected: code %s", code)
        return Verdict(
            OutcomeKind.REJECTED, hint="the connector does not know this refusal; add it to `errors:`", known=False
        )


def parse_rules(text: str, file: str = "errors.yaml") -> list[ErrorRule]:
    """The rules of an `errors.yaml`. Raises InvalidInput with everything that is wrong in it."""
    try:
        return TypeAdapter(list[ErrorRule]).validate_python(yaml.safe_load(text) or [])
    except yaml.YAMLError as error:
        raise InvalidInput(f"{file} is not YAML", [Problem(str(error).splitlines()[0], Place(file))]) from error
    except ValidationError as error:
        problems = [
            Problem(f"rule {'.'.join(map(str, each['loc']))}: {each['msg']}", Place(file)) for each in error.errors()
        ]
        raise InvalidInput(f"{file} has {len(problems)} mistakes", problems) from error


def _code_fits(rule: str, code: str | None) -> bool:
    low, dots, high = rule.partition("..")
    if not dots:
        return rule == code
    try:
        return code is not None and int(low) <= int(code) <= int(high)
    except ValueError:
        return False
