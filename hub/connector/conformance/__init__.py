"""One suite for every connector: cases, each named for the MUST-rule that it proves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from hub.connector.conformance import (
    cases_fault,
    cases_file,
    cases_read,
    cases_schema,
    cases_token,
    cases_webhook,
    cases_write,
)
from hub.connector.conformance.bench import Bench, Broken, bench
from hub.connector.conformance.harness import Harness
from hub.connector.faults import FaultKind

__all__ = ["Bench", "Broken", "Case", "Harness", "bench", "cases", "prove", "prove_exempt", "rules"]

Run = Callable[[Bench], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One case: the part of the guide it belongs to, its name (that `manifest.exempt` may name), the rule that it
    proves, and the proof."""

    part: str
    name: str
    rule: str
    run: Run


async def prove(harness: Harness, case: Case) -> None:
    """Run one case against a fresh simulator. Raises Broken with what does not hold, whatever went wrong."""
    try:
        async with bench(harness) as place:
            await case.run(place)
    except Broken:
        raise
    except Exception as error:
        raise Broken(f"{case.name}: {harness.name} raised {type(error).__name__}: {error}") from error


async def prove_exempt(harness: Harness, case: Case) -> None:
    """Raises Broken if an exempt case holds: an exemption is for what does not apply, not for what was not tried."""
    try:
        await prove(harness, case)
    except Broken:
        return
    raise Broken(f"{harness.name} exempts {case.name}, but the case holds: take the exemption out")


def cases() -> tuple[Case, ...]:
    """The whole suite, in the order of the connector guide."""
    paging = [cases_read.paging(count, what) for count, what in _COUNTS]
    lost = [
        cases_fault.unanswered(kind, what, commits=commits, timeout=timeout) for kind, what, commits, timeout in _LOST
    ]
    return (
        *_named("What it says of itself", _SCHEMA),
        *(Case("Reading", *each) for each in paging),
        *_named("Reading", _READ),
        *_named("Writing", _WRITE),
        *(Case("When things fail", *each) for each in lost),
        *_named("When things fail", _FAULT),
        *_named("Log-ins", _TOKEN),
        *_named("Webhooks", _WEBHOOK),
        *_named("Files", _FILE),
    )


def rules() -> str:
    """The rules as Markdown for the connector guide: a table for each part, each rule beside its case."""
    lines: list[str] = []
    part = None
    for case in cases():
        if case.part != part:
            part = case.part
            lines += ["", f"### {part}", "", "| rule | case |", "| --- | --- |"]
        lines.append(f"| {' '.join(case.rule.split())} | `{case.name}` |")
    return "\n".join(lines[1:])


def _named(part: str, runs: tuple[Run, ...]) -> list[Case]:
    return [Case(part, run.__name__, (run.__doc__ or "").strip(), run) for run in runs]


_COUNTS: tuple[tuple[Callable[[int], int], str], ...] = (
    (lambda page: 0, "no records"),
    (lambda page: 1, "one record"),
    (lambda page: page - 1, "a page less one"),
    (lambda page: page, "a page"),
    (lambda page: page + 1, "a page and one"),
    (lambda page: 3 * page + 2, "many pages"),
)
_SHORT = 0.4  # seconds that a write is given where the system stays silent for one
_LOST: tuple[tuple[FaultKind, str, bool, float], ...] = (
    (FaultKind.RESET, "a reset before the commit", False, 10.0),
    (FaultKind.RESET_AFTER_COMMIT, "a reset after the commit", True, 10.0),
    (FaultKind.ANSWER_LOST_AFTER_COMMIT, "silence after the commit", True, _SHORT),
    (FaultKind.COMMIT_AFTER_ANSWER_LOST, "a reset, and the commit later", True, 10.0),
    (FaultKind.SLOW, "an answer past the time-out", True, _SHORT),
    (FaultKind.HTTP_500, "an internal error", False, 10.0),
    (FaultKind.HTTP_500_AFTER_COMMIT, "an internal error after the commit", True, 10.0),
    (FaultKind.TRUNCATED, "half an answer", True, 10.0),
    (FaultKind.MALFORMED, "an answer that can't be read", True, 10.0),
)
_SCHEMA: tuple[Run, ...] = (
    cases_schema.manifest_is_complete,
    cases_schema.settings_are_documented,
    cases_schema.objects_are_listed_and_described,
    cases_schema.schema_is_sane,
    cases_schema.unknown_object_is_not_found,
    cases_schema.fingerprint_is_stable,
    cases_schema.check_says_what_works,
    cases_schema.check_names_wrong_credentials,
    cases_schema.check_survives_an_unreachable_system,
    cases_schema.close_can_be_repeated,
)
_READ: tuple[Run, ...] = (
    cases_read.reads_find_nothing_in_an_empty_system,
    cases_read.full_scan_says_complete,
    cases_read.cursor_restarts_at_every_page,
    cases_read.a_page_can_be_read_again,
    cases_read.incremental_read_sees_changes,
    cases_read.since_bounds_a_first_read,
    cases_read.read_is_stable_while_records_change,
    cases_read.whole_records_have_every_field,
    cases_read.chosen_fields_are_enough,
    cases_read.reads_bring_chosen_fields,
    cases_read.values_hold_no_floats,
    cases_read.records_carry_id_and_time,
    cases_read.get_answers_many_in_order,
    cases_read.get_of_gone_is_gone,
    cases_read.failed_get_is_never_gone,
    cases_read.find_by_key,
    cases_read.find_matches_exactly,
    cases_read.failed_find_is_never_absent,
    cases_read.children_answer_every_master,
    cases_read.deletes_are_seen,
)
_WRITE: tuple[Run, ...] = (
    cases_write.create_then_get,
    cases_write.update_changes_what_was_sent,
    cases_write.partial_failure_in_a_batch,
    cases_write.nothing_is_written_for_nothing,
    cases_write.update_of_gone_is_gone,
    cases_write.delete_removes,
    cases_write.unicode_survives,
    cases_write.long_values_fit_or_are_refused,
    cases_write.empty_clears,
    cases_write.a_key_that_exists_is_duplicate,
    cases_write.write_never_raises,
    cases_write.steps_resume_where_they_stopped,
)
_FAULT: tuple[Run, ...] = (
    cases_fault.unanswered_updates_are_unknown,
    cases_fault.faults_in_a_batch_stay_apart,
    cases_fault.throttled_write_is_not_executed,
    cases_fault.a_later_write_meets_no_old_fault,
    cases_fault.unreachable_write_is_not_executed,
    cases_fault.reads_pass_over_a_failure,
    cases_fault.reads_honour_retry_after,
    cases_fault.failing_reads_raise_typed_errors,
    cases_fault.secrets_stay_secret,
)
_TOKEN: tuple[Run, ...] = (
    cases_token.read_survives_token_expiry,
    cases_token.write_survives_token_expiry,
    cases_token.many_workers_share_one_login,
    cases_token.two_connectors_share_one_login,
    cases_token.wrong_credentials_are_refused_in_words,
    cases_token.wrong_credentials_make_few_attempts,
)
_WEBHOOK: tuple[Run, ...] = (
    cases_webhook.true_webhook_is_received,
    cases_webhook.forged_webhook_is_refused,
    cases_webhook.stale_webhook_is_refused,
    cases_webhook.replayed_webhook_is_recognised,
    cases_webhook.garbage_webhook_is_refused,
)
_FILE: tuple[Run, ...] = (
    cases_file.files_come_back_byte_for_byte,
    cases_file.broken_downloads_are_no_files,
    cases_file.failing_uploads_raise_typed_errors,
)
