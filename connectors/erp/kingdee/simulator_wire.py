"""The simulator's envelopes: the many forms in which calls come, and the shapes in which Kingdee answers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.responses import Response

from connectors.erp.kingdee.simulator_auth import COOKIE, Account, Session
from connectors.erp.kingdee.simulator_store import Refused
from hub.connector.table import Row


def service_of(path: str) -> str:
    """`/k3cloud/A.B.C.common.kdsvc` -> `A.B.C`; anything else is nothing."""
    last = path.rpartition("/")[2]
    return last[: -len(".common.kdsvc")] if last.lower().endswith(".common.kdsvc") else ""


def envelope(content_type: str, body: bytes) -> dict[str, Any]:
    """The body as an object, from JSON or a form. Raises ValueError or TypeError."""
    if content_type.startswith("application/x-www-form-urlencoded"):
        return {key: values[-1] for key, values in parse_qs(body.decode("utf-8")).items()}
    given = orjson.loads(body) if body.strip() else {}
    return dict(given)


def arguments_of(given: dict[str, Any], method: str) -> list[Any]:
    """The call's arguments, whichever of the envelopes they came in."""
    if "parameters" in given:
        parameters = given["parameters"]
        return list(orjson.loads(parameters) if isinstance(parameters, str) else parameters)
    lowered = {name.lower(): value for name, value in given.items()}
    if "formid" not in lowered or method in ("ExecuteBillQuery", "BillQuery", "QueryBusinessInfo", "SwitchOrg"):
        return [lowered.get("data")]
    if "opnumber" in lowered:
        return [lowered["formid"], lowered["opnumber"], lowered.get("data")]
    return [lowered["formid"], lowered.get("data")]


def data_of(arguments: list[Any], at: int) -> dict[str, Any]:
    """The data of a call, an object or the text of one (encoded once, never twice)."""
    found = arguments[at] if at < len(arguments) else None
    try:
        data = orjson.loads(found) if isinstance(found, str) else found
    except orjson.JSONDecodeError:
        data = None
    if not isinstance(data, dict):
        raise Refused("参数data不是有效的JSON对象", code=8)
    return data


def written(done: list[tuple[int, Any, Any]], errors: list[tuple[int, Refused]]) -> dict[str, Any]:
    """The answer to a write: what was done and what was refused, each with its index in the list that came."""
    status: dict[str, Any] = {
        "IsSuccess": not errors,
        "Errors": [{"FieldName": error.field, "Message": error.message, "DIndex": at} for at, error in errors],
        "SuccessEntitys": [{"Id": id, "Number": number, "DIndex": at} for at, id, number in done],
        "SuccessMessages": [],
        "MsgCode": errors[0][1].code if errors else 0,
    }
    if errors:
        status = {"ErrorCode": 500, **status}
    first = done[0] if done and not errors else (0, "", "")
    return {"Result": {"ResponseStatus": status, "Id": first[1], "Number": first[2]}}


def refusal(refused: Refused) -> dict[str, Any]:
    """The answer to a call that was refused as a whole."""
    return written([], [(0, refused)])


def query_error(refused: Refused) -> list[Any]:
    """With status 200, in two arrays, where rows would stand."""
    return [[refusal(refused)]]


def returned_fields(tables: list[str], row: Row, wanted: list[str]) -> dict[str, Any]:
    """`NeedReturnData` of one document: heads as they are, rows as a list a table."""
    answer: dict[str, Any] = {}
    for name in wanted:
        head, dot, member = name.partition(".")
        if dot and head in tables:
            rows = answer.setdefault(head, [{} for _ in row[head]])
            for shown, each in zip(rows, row[head], strict=True):
                shown[member] = each.get(member)
        elif name in row:
            answer[name] = row[name]
    return answer


def login_answer(
    result: int, *, message: str = "", code: str = "", session: Session | None = None, account: Account | None = None
) -> dict[str, Any]:
    """What a log-in call answers, with status 200 for refusals too."""
    context = None
    if session is not None and account is not None:
        context = {
            "UserId": 100_301,
            "UserName": account.username,
            "DataCenterName": "演示数据中心",
            "DBid": account.acct_id,
            "SessionId": session.id,
            "UserLocale": "zh-CN",
            "CurrentOrganizationInfo": {"ID": 1, "AcctOrgType": "1", "Name": "演示一公司", "FunctionIds": []},
            "UTimeZone": {"OffsetTicks": 288_000_000_000, "StandardName": "(UTC+08:00)北京", "Id": 1},
        }
    return {
        "Message": message,
        "MessageCode": code,
        "LoginResultType": result,
        "Context": context,
        "KDSVCSessionId": session.id if session else None,
        "FormId": None,
        "Lcid": 0,
        "AccessToken": None,
        "KdAccessResult": None,
        "IsSuccessByAPI": session is not None,
    }


def with_session(answer: Response, session: Session) -> Response:
    """The answer with both cookies of a session."""
    answer.set_cookie(COOKIE, session.id, path="/")
    answer.set_cookie("ASP.NET_SessionId", session.id[::-1], path="/", httponly=True)
    return answer


def reply(body: Any) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(body, default=_exact), media_type="application/json")


def _exact(value: Any) -> Any:
    """Decimals leave as JSON numbers with ten places, as the server writes them."""
    if isinstance(value, Decimal):
        return orjson.Fragment(f"{value:.10f}")
    raise TypeError(type(value).__name__)
