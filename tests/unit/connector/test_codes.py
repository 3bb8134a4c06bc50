from __future__ import annotations

import logging

import pytest

from hub.connector.codes import ErrorRule, ErrorTable, Retry, parse_rules
from hub.domain.errors import InvalidInput
from hub.domain.outcome import OutcomeKind

RULES = """
- {code: 20016, kind: not_executed, retry: token}
- {code: 30004, kind: not_executed, retry: wait, wait: 20, hint: slow down}
- {code: 500, match: locked, kind: blocked}
- {code: 10001..10015, kind: rejected, hint: mend the mapping}
- {match: 'no right|无此操作的数据权限', kind: blocked}
"""


@pytest.fixture
def table() -> ErrorTable:
    return ErrorTable(parse_rules(RULES))


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    [
        ("20016", "", OutcomeKind.NOT_EXECUTED),
        ("10001", "", OutcomeKind.REJECTED),
        ("10015", "", OutcomeKind.REJECTED),
        ("500", "record is locked", OutcomeKind.BLOCKED),
        ("9", "对不起，无此操作的数据权限", OutcomeKind.BLOCKED),
        (None, "no right", OutcomeKind.BLOCKED),
    ],
)
def test_the_first_rule_that_fits_judges(table: ErrorTable, code: str | None, message: str, kind: OutcomeKind) -> None:
    verdict = table.judge(code, message)
    assert verdict.known
    assert verdict.kind is kind


@pytest.mark.parametrize(("code", "message"), [("500", "other"), ("10016", "x"), ("1000x", "x"), (None, "x")])
def test_an_unknown_refusal_is_rejected_and_logged(
    table: ErrorTable, code: str | None, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    verdict = table.judge(code, message)
    assert (verdict.kind, verdict.known) == (OutcomeKind.REJECTED, False)
    assert "unknown refusal" in caplog.text


def test_a_verdict_becomes_an_outcome_or_an_error(table: ErrorTable) -> None:
    outcome = table.judge("30004", "too many").outcome("too many", code="30004")
    assert (outcome.kind, outcome.retry_after) == (OutcomeKind.NOT_EXECUTED, 20)
    assert outcome.failure is not None
    assert outcome.failure.message == "too many"
    error = table.judge("30004", "too many").error("too many", code="30004")
    assert (error.retryable, error.retry_after, error.hint) == (True, 20, "slow down")
    assert not table.judge("10001", "x").error("x").retryable


def test_a_deployments_own_rules_go_first() -> None:
    own = ErrorRule(code="30004", kind=OutcomeKind.BLOCKED, retry=Retry.NEVER)
    table = ErrorTable([own, *parse_rules(RULES)], logging.getLogger("test"))
    assert table.judge("30004", "").kind is OutcomeKind.BLOCKED


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {kind: rejected}", "a code or a match"),
        ("- {code: 1, kind: refused}", "rule 0.kind"),
        ("- {match: '(', kind: rejected}", "no regular expression"),
        ("- {code: 1, kind: rejected, retries: 3}", "retries"),
        ("- [", "not YAML"),
    ],
)
def test_a_mistake_is_told(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_rules(text)
    assert words in str(caught.value)
