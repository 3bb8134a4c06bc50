"""The suite catches what is wrong: connectors broken on purpose, each caught by the case that is meant for it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from hub.connector.conformance import Broken, Case, cases, prove
from hub.connector.contract import (
    Connector,
    Cursor,
    FindAnswer,
    Finding,
    GetAnswer,
    GetKind,
    Op,
    Page,
    ReadRequest,
    Received,
    Reply,
    WebhookRequest,
    Write,
)
from hub.connector.kit import Kit
from hub.connector.redaction import Redactor
from hub.connector.tokens import Token
from hub.domain.errors import HubError, NotFound
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import Fields, Record
from hub.domain.schema import ObjectSchema
from tests.conformance.harness_toy import ToyHarness
from tests.conformance.toy.connector import ToyConnector, ToySettings


class CallsSilenceNotExecuted(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        return [_instead(o, OutcomeKind.UNKNOWN, OutcomeKind.NOT_EXECUTED) for o in await super().write(object, batch)]


class RepeatsWrites(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        outcomes = await super().write(object, batch)
        return await super().write(object, batch) if outcomes[0].kind is OutcomeKind.UNKNOWN else outcomes


class TurnsOutcomesAround(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        return (await super().write(object, batch))[::-1]


class TakesTheBatchAsOne(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        outcomes = await super().write(object, batch)
        bad = [outcome for outcome in outcomes if not outcome.ok]
        return [bad[0]] * len(batch) if bad else outcomes


class CallsGoneOk(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        return [_instead(o, OutcomeKind.GONE, OutcomeKind.OK) for o in await super().write(object, batch)]


class ForgetsWhatIsDone(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        return await super().write(object, [replace(w, done=(), id=None) if w.done else w for w in batch])


class CallsThrottledUnknown(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        return [_instead(o, OutcomeKind.NOT_EXECUTED, OutcomeKind.UNKNOWN) for o in await super().write(object, batch)]


class CallsDuplicateRejected(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        return [_instead(o, OutcomeKind.DUPLICATE, OutcomeKind.REJECTED) for o in await super().write(object, batch)]


class RaisesForOddWrites(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        if any(write.op is Op.OPERATION for write in batch):
            raise HubError("no such operation")
        return await super().write(object, batch)


class CutsLongText(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        cut = [replace(w, fields={n: v[:40] if isinstance(v, str) else v for n, v in w.fields.items()}) for w in batch]
        return await super().write(object, cut)


class DropsNulls(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        kept = [replace(w, fields={n: v for n, v in w.fields.items() if v is not None} or {"code": "x"}) for w in batch]
        return await super().write(object, kept)


class DropsTheLastPage(ToyConnector):
    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        page = await super().read(request, cursor)
        return page if page.more else replace(page, changes=[])


class StopsAtAFullPage(ToyConnector):
    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        page = await super().read(request, cursor)
        return replace(page, more=page.more and cursor is None)


class LosesTies(ToyConnector):
    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        page = await super().read(request, cursor)
        if not request.full and page.cursor["after"]:
            page.cursor = {"after": [page.cursor["after"][0] + 1, ""]}
        return page


class KeepsTheCursorToItself(ToyConnector):
    _own: Cursor | None = None

    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        page = await super().read(request, self._own if cursor else None)
        self._own = page.cursor
        return replace(page, cursor={"page": "next"})


class NeverSaysComplete(ToyConnector):
    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        return replace(await super().read(request, cursor), complete=False)


class PagesByOffset(ToyConnector):
    """Reads what it finds from the start and skips what it has had: records that move make others jump the gap."""

    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        skip = (cursor or {}).get("skip", 0)
        everything: list[Any] = []
        inner: Cursor | None = None
        while True:
            page = await super().read(request, inner)
            inner, everything = page.cursor, everything + page.changes
            if not page.more:
                break
        more = len(everything) > skip + 5
        part = everything[skip : skip + 5]
        return replace(page, changes=part, cursor={"skip": skip + len(part)}, more=more)


class LeavesOutEmptyFields(ToyConnector):
    def _record(self, note: Fields) -> Record:
        record = super()._record(note)
        record.fields = {name: value for name, value in record.fields.items() if value is not None}
        return record


class DropsTheTime(ToyConnector):
    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        page = await super().read(request, cursor)
        for change in page.changes if request.fields else []:
            change.record.modified = None
        return page


class ReadsFloats(ToyConnector):
    def _record(self, note: Fields) -> Record:
        record = super()._record(note)
        record.fields["amount"] = float(str(record.fields["amount"]))  # type: ignore[assignment]
        return record


class CallsFailureGone(ToyConnector):
    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        try:
            return await super().get(object, ids, fields)
        except HubError:
            return [GetAnswer(id, GetKind.GONE) for id in ids]


class AnswersInItsOwnOrder(ToyConnector):
    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        return sorted(await super().get(object, ids, fields), key=lambda answer: answer.id)


class CallsFailureAbsent(ToyConnector):
    async def find(
        self, object: str, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None = None
    ) -> list[FindAnswer]:
        try:
            return await super().find(object, keys, fields)
        except HubError:
            return [FindAnswer() for _ in keys]


class FindsByPrefix(ToyConnector):
    async def find(
        self, object: str, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None = None
    ) -> list[FindAnswer]:
        page = await self.read(ReadRequest("note", full=True), None)
        records = [change.record for change in page.changes]
        return [FindAnswer([r for r in records if str(r.fields["code"]).startswith(key["code"])]) for key in keys]


class GivesUpAtOnce(ToyConnector):
    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        token = await self._tokens.token()
        response = await self._http.send("POST", path, json=body, headers={"authorization": f"Bearer {token.value}"})
        return self._answer(response)


class LogsInForEveryone(ToyConnector):
    async def _ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        token = await self._login()
        return self._answer(
            await self._http.send("POST", path, json=body, headers={"authorization": f"Bearer {token.value}"})
        )


class LogsItsSecret(ToyConnector):
    async def _login(self) -> Token:
        logging.getLogger("toy").debug("logging in with %s", self._settings.secret.get_secret_value())
        return await super()._login()


class ForgetsToHideItsToken(ToyConnector):
    async def _login(self) -> Token:
        token = await super()._login()
        self._http.redact = Redactor()
        return token


class RaisesFromCheck(ToyConnector):
    async def check(self) -> list[Finding]:
        return [Finding(f"reached {await self.fingerprint()}", ok=True)]


class FingerprintsTheToken(ToyConnector):
    async def fingerprint(self) -> str:
        await super().fingerprint()
        return secrets.token_hex(4)


class KnowsEveryObject(ToyConnector):
    async def describe(self, object: str) -> ObjectSchema:
        try:
            return await super().describe(object)
        except NotFound:
            return await super().describe("note")


class ForgetsItsTable(ToyConnector):
    async def describe(self, object: str) -> ObjectSchema:
        return replace(await super().describe(object), number_field="nummer")


class ChecksNoSignature(ToyConnector):
    def receive(self, request: WebhookRequest) -> Received:
        return Received([], Reply(), dedupe="x")


class ForgetsTheTime(ToyConnector):
    def receive(self, request: WebhookRequest) -> Received:
        return super().receive(replace(request, received=int(request.headers.get("x-toy-at", "0"))))


class DedupesByChance(ToyConnector):
    def receive(self, request: WebhookRequest) -> Received:
        return replace(super().receive(request), dedupe=secrets.token_hex(4))


MUTANTS: list[tuple[type[ToyConnector], str]] = [
    (CallsSilenceNotExecuted, "write_unknown_after_answer_lost_after_commit"),
    (CallsSilenceNotExecuted, "write_unknown_after_reset_after_commit"),
    (CallsSilenceNotExecuted, "write_unknown_after_slow"),
    (CallsSilenceNotExecuted, "write_unknown_after_http_500_after_commit"),
    (CallsSilenceNotExecuted, "faults_in_a_batch_stay_apart"),
    (RepeatsWrites, "write_unknown_after_reset"),
    (RepeatsWrites, "write_unknown_after_truncated"),
    (TurnsOutcomesAround, "partial_failure_in_a_batch"),
    (TakesTheBatchAsOne, "partial_failure_in_a_batch"),
    (CallsGoneOk, "update_of_gone_is_gone"),
    (ForgetsWhatIsDone, "steps_resume_where_they_stopped"),
    (CallsThrottledUnknown, "throttled_write_is_not_executed"),
    (CallsSilenceNotExecuted, "unanswered_updates_are_unknown"),
    (CallsDuplicateRejected, "a_key_that_exists_is_duplicate"),
    (RaisesForOddWrites, "write_never_raises"),
    (DropsTheTime, "reads_bring_chosen_fields"),
    (CutsLongText, "long_values_fit_or_are_refused"),
    (DropsNulls, "empty_clears"),
    (DropsTheLastPage, "paging_one_record"),
    (DropsTheLastPage, "paging_many_pages"),
    (StopsAtAFullPage, "paging_many_pages"),
    (LosesTies, "paging_many_pages"),
    (KeepsTheCursorToItself, "cursor_restarts_at_every_page"),
    (NeverSaysComplete, "full_scan_says_complete"),
    (PagesByOffset, "read_is_stable_while_records_change"),
    (LeavesOutEmptyFields, "empty_clears"),
    (ReadsFloats, "values_hold_no_floats"),
    (CallsFailureGone, "failed_get_is_never_gone"),
    (AnswersInItsOwnOrder, "get_answers_many_in_order"),
    (CallsFailureAbsent, "failed_find_is_never_absent"),
    (FindsByPrefix, "find_matches_exactly"),
    (GivesUpAtOnce, "reads_pass_over_a_failure"),
    (GivesUpAtOnce, "read_survives_token_expiry"),
    (LogsInForEveryone, "many_workers_share_one_login"),
    (LogsInForEveryone, "two_connectors_share_one_login"),
    (LogsInForEveryone, "wrong_credentials_make_few_attempts"),
    (LogsItsSecret, "check_says_what_works"),
    (ForgetsToHideItsToken, "secrets_stay_secret"),
    (RaisesFromCheck, "check_names_wrong_credentials"),
    (FingerprintsTheToken, "fingerprint_is_stable"),
    (KnowsEveryObject, "unknown_object_is_not_found"),
    (ForgetsItsTable, "schema_is_sane"),
    (ChecksNoSignature, "forged_webhook_is_refused"),
    (ChecksNoSignature, "garbage_webhook_is_refused"),
    (ChecksNoSignature, "true_webhook_is_received"),
    (ForgetsTheTime, "stale_webhook_is_refused"),
    (DedupesByChance, "replayed_webhook_is_recognised"),
]


class MutantHarness(ToyHarness):
    def __init__(self, mutant: type[ToyConnector]) -> None:
        self._mutant = mutant

    def connector(self, settings: Mapping[str, Any], kit: Kit) -> Connector:
        return self._mutant(ToySettings.model_validate(settings), kit)


@pytest.mark.parametrize(("mutant", "name"), MUTANTS, ids=lambda part: getattr(part, "__name__", part))
async def test_mutant_is_caught(mutant: type[ToyConnector], name: str) -> None:
    (case,) = [case for case in cases() if case.name == name]
    with pytest.raises(Broken):
        await prove(MutantHarness(mutant), case)


def test_cases_have_names_and_rules_of_their_own() -> None:
    suite: tuple[Case, ...] = cases()
    assert len({case.name for case in suite}) == len(suite)
    assert all(" MUST " in case.rule and case.rule.endswith(".") for case in suite)


def _instead(outcome: Outcome, kind: OutcomeKind, other: OutcomeKind) -> Outcome:
    return replace(outcome, kind=other) if outcome.kind is kind else outcome
