"""An approval's way as both generations of the platform tell it."""

from __future__ import annotations

from typing import Any

from connectors.wecom.progress import digest_of, progress_of

HEAD: dict[str, Any] = {
    "sp_no": "1",
    "sp_status": 1,
    "apply_time": 1767225600,
    "applyer": {"userid": "a", "partyid": "2"},
}
OLDER = {
    "sp_record": [
        {
            "sp_status": 2,
            "details": [{"approver": {"userid": "b"}, "sp_status": 2, "speech": "好", "sptime": 1767225700}],
        },
        {"sp_status": 1, "details": [{"approver": {"userid": "c"}, "sp_status": 1, "speech": "", "sptime": 0}]},
    ]
}
NEWER = {
    "process_list": {
        "node_list": [
            {
                "node_type": 1,
                "sp_status": 2,
                "sub_node_list": [{"userid": "b", "speech": "好", "sp_yj": 2, "sptime": 1767225700}],
            },
            {"node_type": 1, "sp_status": 1, "sub_node_list": [{"userid": "c", "speech": "", "sp_yj": 1, "sptime": 0}]},
            {"node_type": 2, "sub_node_list": [{"userid": "d"}]},
        ]
    }
}


def test_the_older_and_the_newer_record_say_the_same() -> None:
    older, newer = progress_of({**HEAD, **OLDER}), progress_of({**HEAD, **NEWER})
    assert older == newer
    assert (older["pending_with"], older["decided_by"], older["opinion"]) == (["c"], "b", "好")
    assert (older["decided_at"], older["changed_at"]) == (1767225700000, 1767225700000)


def test_a_comment_moves_the_time_of_the_last_change() -> None:
    info = {**HEAD, **OLDER, "comments": [{"commenttime": 1767229200}]}
    assert progress_of(info)["changed_at"] == 1767229200000
    assert digest_of(info) != digest_of({**HEAD, **OLDER})


def test_what_says_nothing_is_read_as_nothing() -> None:
    bare = progress_of({})
    assert {name for name, value in bare.items() if value not in (None, "", [])} == set()
