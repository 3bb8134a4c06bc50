"""WeCom's members for the conformance suite: what is created, changed and deleted through the API like any table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from connectors.wecom.connector import WeComConnector
from connectors.wecom.simulator import WeComSimulator
from hub.connector.contract import Manifest, WebhookRequest
from hub.connector.simulator import Simulator
from hub.domain.record import Fields
from tests.conformance.harness_wecom import WeComHarness, company, signed

_NO_TIMES = "no modification times: every read is a pass over all members, and the ledger drops what it knows"
_NO_FILES = "members have no files; approvals have"


class MembersHarness(WeComHarness):
    """Members, five a department: a department is a page."""

    name = "wecom-members"
    object = "member"
    key = "userid"
    page = 5
    write_op = "^user/create$"
    update_op = "^user/update$"
    read_op = "^(department/simplelist|user/list)$"
    get_op = "^user/get$"
    find_op = "^user/get$"
    lag = 0.0
    text = "position"
    text_length = 128
    file = ""

    @property
    def manifest(self) -> Manifest:
        exempt = {
            "incremental_read_sees_changes": _NO_TIMES,
            "since_bounds_a_first_read": _NO_TIMES,
            "steps_resume_where_they_stopped": WeComConnector.manifest.exempt["steps_resume_where_they_stopped"],
            "children_answer_every_master": WeComConnector.manifest.exempt["children_answer_every_master"],
            "files_come_back_byte_for_byte": _NO_FILES,
            "broken_downloads_are_no_files": _NO_FILES,
            "failing_uploads_raise_typed_errors": _NO_FILES,
        }
        return replace(WeComConnector.manifest, exempt=exempt)

    def simulator(self) -> WeComSimulator:
        simulator = WeComSimulator()
        for userid in [row["userid"] for row in simulator.table("member")]:
            simulator.people.delete_member(userid, actor="seed")
        return simulator

    async def seed(self, simulator: Simulator, start: int, count: int) -> list[str]:
        wecom = company(simulator)
        ids = []
        for n in range(start, start + count):
            department = 1 + len(wecom.table("member")) // self.page
            if str(department) not in wecom.table("department"):
                wecom.people.save_department(department, {"name": f"部门{department}"}, actor="seed")
            fields = {**self.sample(n), "department": [department]}
            ids.append(wecom.people.save_member(f"user{n:06d}", fields, actor="seed", new=True)["userid"])
        return ids

    async def edit(self, simulator: Simulator, id: str, n: int) -> None:
        await simulator.change({"op": "update", "object": "member", "id": id, "fields": self.changed(n)})

    async def remove(self, simulator: Simulator, id: str) -> None:
        await simulator.change({"op": "delete", "object": "member", "id": id})

    def sample(self, n: int) -> Fields:
        return {"userid": f"user{n:06d}", "name": f"成员{n}", "position": f"第{n}岗", "department": ["1"]}

    def changed(self, n: int) -> Fields:
        return {"position": f"新{n}岗"}

    def invalid(self, n: int) -> Fields:
        return {**self.sample(n), "name": ""}

    def wrong(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return {**super().wrong(settings), "contact_secret": "not-the-secret-of-this-app"}

    def made(self, simulator: Simulator, n: int) -> int:
        wanted = self.sample(n)[self.key]
        return sum(
            entry.object == "member" and entry.before is None and entry.actor == "api" and entry.id == wanted
            for entry in simulator.journal
        )

    def webhook(self, simulator: Simulator, object: str, id: str, *, at: int) -> WebhookRequest:
        wecom = company(simulator)
        event = wecom.event("change_contact", {"UserID": id}, change="update_user", at=at)
        return signed(wecom.seal, event, at)


def harness() -> MembersHarness:
    return MembersHarness()
