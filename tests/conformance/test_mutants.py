"""The suite catches what is wrong: connectors broken on purpose, each caught by the case that is meant for it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from pydantic import create_model

from hub.connector.conformance import Broken, Case, cases, prove
from hub.connector.contract import (
    Connector,
    Cursor,
    FindAnswer,
    Finding,
    GetAnswer,
    GetKind,
    ObjectInfo,
    Op,
    Page,
    ReadRequest,
    Received,
    Reply,
    WebhookRequest,
    Write,
)
from hub.connector.files import FileStream
from hub.connector.http import Response
from hub.connector.kit import Kit
from hub.connector.redaction import Redactor
from hub.connector.tokens import Token
from hub.domain.errors import CredentialsRefused, HubError, NotFound, VendorError
from hub.domain.outcome import Outcome, OutcomeKind
from hub.domain.record import Change, Fields, Record, Value
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


class ReadsOnePage(ToyConnector):
    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        return replace(await super().read(request, cursor), more=False)


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


class Deaf(Redactor):
    """Hides nothing that it is told of later."""

    def learn(self, *secrets: str) -> None:
        del secrets


class ForgetsToHideItsToken(ToyConnector):
    async def _login(self) -> Token:
        self._http.redact = Deaf()  # the kit hides what a log-in gave, so forgetting alone does no harm any more
        return await super()._login()


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


class SaysNothingOfItself(ToyConnector):
    manifest = replace(ToyConnector.manifest, docs="", settings=create_model("Bare", password=(str, ...)))


class ListsWhatItCannotDescribe(ToyConnector):
    async def objects(self) -> list[ObjectInfo]:
        return [*await super().objects(), ObjectInfo("ghost", "Ghost")]


class ClosesOnce(ToyConnector):
    async def aclose(self) -> None:
        await self._http.aclose()
        del self._http


class RemembersWhatItGave(ToyConnector):
    """Keeps track of what it has handed out, so that a page whose answer was lost never comes again."""

    def __init__(self, settings: ToySettings, kit: Kit) -> None:
        super().__init__(settings, kit)
        self._given: set[str] = set()

    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        page = await super().read(request, cursor)
        fresh = [change for change in page.changes if change.record.id not in self._given]
        self._given |= {change.record.id for change in fresh}
        return replace(page, changes=fresh)


class StartsAnewEveryTime(ToyConnector):
    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        page = await super().read(request, cursor)
        return page if page.more else replace(page, cursor={})


class IgnoresSince(ToyConnector):
    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        return await super().read(replace(request, since=None), cursor)


class CallsDeletedSaved(ToyConnector):
    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        page = await super().read(request, cursor)
        return replace(page, changes=[Change(change.record) for change in page.changes])


class LeavesOutAField(ToyConnector):
    def _record(self, note: Fields) -> Record:
        record = super()._record(note)
        del record.fields["amount"]
        return record


class TellsTimeInSeconds(ToyConnector):
    def _record(self, note: Fields) -> Record:
        record = super()._record(note)
        record.modified = (record.modified or 0) // 1000
        return record


class CannotTellGone(ToyConnector):
    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        return [a if a.record else replace(a, kind=GetKind.CANT_TELL) for a in await super().get(object, ids, fields)]


class GetsOtherFields(ToyConnector):
    async def get(self, object: str, ids: Sequence[str], fields: frozenset[str] | None = None) -> list[GetAnswer]:
        answers = await super().get(object, ids, fields)
        for answer in answers:
            if answer.record and fields:
                answer.record.fields = {"id": answer.id}
        return answers


class FindsTheFirstTenOnly(ToyConnector):
    async def find(
        self, object: str, keys: Sequence[Mapping[str, Any]], fields: frozenset[str] | None = None
    ) -> list[FindAnswer]:
        return [*await super().find(object, keys[:10], fields), *(FindAnswer() for _ in keys[10:])]


class ForgetsChildlessMasters(ToyConnector):
    async def children(
        self, object: str, master_field: str, masters: Sequence[str], fields: frozenset[str] | None = None
    ) -> dict[str, list[Record]]:
        found = await super().children(object, master_field, masters, fields)
        return {master: rows for master, rows in found.items() if rows}


class ShoutsWhatItWrites(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        loud = [
            replace(w, fields={n: v.upper() if isinstance(v, str) else v for n, v in w.fields.items()}) for w in batch
        ]
        return await super().write(object, loud)


class KeepsToAscii(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        plain = [
            replace(w, fields={n: str(v).encode("ascii", "replace").decode() for n, v in w.fields.items()})
            for w in batch
        ]
        return await super().write(object, plain)


class WritesMoreThanItWasTold(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        return await super().write(
            object, [replace(w, fields={**w.fields, "amount": "0.00"}) if w.op is Op.UPDATE else w for w in batch]
        )


class SendsEmptyBatches(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        await self._save([Write(Op.CREATE)])
        return await super().write(object, batch)


class PretendsToDelete(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        return [Outcome(OutcomeKind.OK, id=write.id) for write in batch]


class CallsDownUnknown(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        return [_instead(o, OutcomeKind.DOWN, OutcomeKind.UNKNOWN) for o in await super().write(object, batch)]


class BreaksForGood(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        outcomes = await super().write(object, batch)
        if outcomes[0].kind is OutcomeKind.UNKNOWN:
            await self.aclose()
            self._http = self._kit.http("http://127.0.0.1:9")
        return outcomes


class AsksAgainTooSoon(ToyConnector):
    def _answer(self, response: Response) -> dict[str, Any]:
        try:
            return super()._answer(response)
        except VendorError as error:
            error.retry_after = None
            raise


class ReadsFailuresAsEmpty(ToyConnector):
    async def read(self, request: ReadRequest, cursor: Cursor | None) -> Page:
        try:
            return await super().read(request, cursor)
        except HubError:
            return Page([], cursor or {}, False, 0, 0, complete=True)


class CallsExpiryRejected(ToyConnector):
    async def write(self, object: str, batch: Sequence[Write]) -> list[Outcome]:
        return [_instead(o, OutcomeKind.NOT_EXECUTED, OutcomeKind.REJECTED) for o in await super().write(object, batch)]


class RefusesWithoutAHint(ToyConnector):
    async def _login(self) -> Token:
        try:
            return await super()._login()
        except CredentialsRefused as error:
            raise CredentialsRefused(error.message) from None


class DropsTheLastPiece(ToyConnector):
    async def upload(self, object: str, field: str, file: FileStream) -> Value:
        pieces = [piece async for piece in file]
        return await super().upload(object, field, FileStream(file.name, _these(pieces[:-1]), type=file.type))


class TakesHalfAFile(ToyConnector):
    @asynccontextmanager
    async def download(self, object: str, id: str, field: str, file: Value) -> AsyncIterator[FileStream]:
        async with super().download(object, id, field, file) as found:
            pieces: list[bytes] = []
            with suppress(HubError):
                pieces.extend([piece async for piece in found])
            yield FileStream(found.name, _these(pieces))


class UploadsTwice(ToyConnector):
    async def upload(self, object: str, field: str, file: FileStream) -> Value:
        kept = [piece async for piece in file]
        try:
            return await super().upload(object, field, FileStream(file.name, _these(kept)))
        except HubError:
            return await super().upload(object, field, FileStream(file.name, _these(kept)))


async def _these(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


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
    (SaysNothingOfItself, "manifest_is_complete"),
    (SaysNothingOfItself, "settings_are_documented"),
    (ListsWhatItCannotDescribe, "objects_are_listed_and_described"),
    (RaisesFromCheck, "check_survives_an_unreachable_system"),
    (ClosesOnce, "close_can_be_repeated"),
    (RemembersWhatItGave, "a_page_can_be_read_again"),
    (RemembersWhatItGave, "incremental_read_sees_changes"),
    (StartsAnewEveryTime, "incremental_read_sees_changes"),
    (IgnoresSince, "since_bounds_a_first_read"),
    (CallsDeletedSaved, "deletes_are_seen"),
    (LeavesOutAField, "whole_records_have_every_field"),
    (TellsTimeInSeconds, "records_carry_id_and_time"),
    (CannotTellGone, "get_of_gone_is_gone"),
    (GetsOtherFields, "chosen_fields_are_enough"),
    (FindsTheFirstTenOnly, "find_by_key"),
    (ForgetsChildlessMasters, "children_answer_every_master"),
    (ShoutsWhatItWrites, "create_then_get"),
    (KeepsToAscii, "unicode_survives"),
    (WritesMoreThanItWasTold, "update_changes_what_was_sent"),
    (SendsEmptyBatches, "nothing_is_written_for_nothing"),
    (PretendsToDelete, "delete_removes"),
    (CallsDownUnknown, "unreachable_write_is_not_executed"),
    (BreaksForGood, "a_later_write_meets_no_old_fault"),
    (AsksAgainTooSoon, "reads_honour_retry_after"),
    (ReadsFailuresAsEmpty, "failing_reads_raise_typed_errors"),
    (CallsExpiryRejected, "write_survives_token_expiry"),
    (RefusesWithoutAHint, "wrong_credentials_are_refused_in_words"),
    (DropsTheLastPage, "paging_a_page_less_one"),
    (RemembersWhatItGave, "paging_a_page"),
    (ReadsOnePage, "paging_a_page_and_one"),
    (CallsSilenceNotExecuted, "write_unknown_after_http_500"),
    (CallsSilenceNotExecuted, "write_unknown_after_malformed"),
    (CallsSilenceNotExecuted, "write_unknown_after_commit_after_answer_lost"),
    (DropsTheLastPiece, "files_come_back_byte_for_byte"),
    (TakesHalfAFile, "broken_downloads_are_no_files"),
    (UploadsTwice, "failing_uploads_raise_typed_errors"),
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


def test_every_case_but_the_trivial_catches_a_mutant() -> None:
    # These hold for whatever reads at all: their faults show in the cases beside them.
    trivial = {"paging_no_records", "reads_find_nothing_in_an_empty_system"}
    assert {case.name for case in cases()} - {name for _, name in MUTANTS} == trivial


def test_cases_have_names_and_rules_of_their_own() -> None:
    suite: tuple[Case, ...] = cases()
    assert len({case.name for case in suite}) == len(suite)
    assert all(" MUST " in case.rule and case.rule.endswith(".") for case in suite)


def _instead(outcome: Outcome, kind: OutcomeKind, other: OutcomeKind) -> Outcome:
    return replace(outcome, kind=other) if outcome.kind is kind else outcome
