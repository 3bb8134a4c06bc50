"""The central tables. Times are UTC epoch milliseconds, JSON is text, ids are made by `hub.domain.ids` (see
docs/decisions).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)


# SQLite keeps a table in the order of an INTEGER key; any other type would be a second tree beside it.
_ID = BigInteger().with_variant(Integer(), "sqlite")


def _id(name: str = "id") -> Column[int]:
    return Column(name, _ID, primary_key=True, autoincrement=False)


_SEAT = "CASE WHEN role = 'primary' AND tombstone IS NULL THEN 0 ELSE id END"

# 'In system S, object O, the entity has id R.' A row exists from the first time a record is seen or referenced.
identity = Table(
    "identity",
    metadata,
    _id(),
    Column("entity", BigInteger, nullable=False),
    Column("system", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("record_id", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("role", Text, nullable=False, server_default="primary"),  # primary | alias
    Column("facet", Text, nullable=False, server_default=""),
    Column("number", Text),  # the key that people and references use beside the id
    Column("keys", Text),  # JSON: further keys
    Column("parent", BigInteger),  # a row's record
    Column("usable", Boolean, nullable=False, server_default=text("true")),
    Column("tombstone", BigInteger),  # when it was deleted
    Column("revision", Integer, nullable=False, server_default="0"),
    Column("origin", Text, nullable=False),  # captured | referenced | created | adopted | linked | imported
    Column("created", BigInteger, nullable=False),
    # In each place an entity has one live primary; aliases and tombstones stand behind it, each in a seat of its own.
    Column("seat", BigInteger, Computed(_SEAT, persisted=True)),
    UniqueConstraint("system", "object", "record_id"),
    UniqueConstraint("entity", "system", "object", "facet", "seat"),  # serves look-ups by entity as well
    Index(
        "ix_identity_number",
        "system",
        "object",
        "number",
        postgresql_where=text("number IS NOT NULL"),
        sqlite_where=text("number IS NOT NULL"),
    ),
    Index(
        "ix_identity_parent",
        "parent",
        postgresql_where=text("parent IS NOT NULL"),
        sqlite_where=text("parent IS NOT NULL"),
    ),
)

# What we know of a record's content: as last read, as last written by us, and what left without an answer.
shadow = Table(
    "shadow",
    metadata,
    _id("identity"),
    Column("seen", Text),  # JSON: fields in the system's own shape
    Column("seen_version", BigInteger),
    Column("seen_at", BigInteger),  # when the read was asked
    Column("sent", Text),  # JSON: our last rendering of the fields that we write
    Column("sent_at", BigInteger),
    Column("doubt", Text),  # JSON: names of the fields whose fate is not known
)

# The ledger and the retry queue: one row for a flow and a source record, for ever.
delivery = Table(
    "delivery",
    metadata,
    _id(),
    Column("flow", Text, nullable=False),
    Column("source_id", Text, nullable=False),
    Column("entity", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),  # a code: the rule, the outcome kind, the policy
    Column("message", Text),  # for people
    Column("title", Text),  # the number that people know it by
    Column("lane", SmallInteger, nullable=False, server_default="0"),  # 0 live, 1 bulk
    Column("due", BigInteger, nullable=False),
    Column("since", BigInteger, nullable=False),  # when the state was entered
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("deleted", Boolean, nullable=False, server_default=text("false")),  # the last capture was a deletion
    Column("refetch", Boolean, nullable=False, server_default=text("false")),  # the payload is not to be trusted
    Column("revision", Integer, nullable=False, server_default="1"),  # grows with each newer capture
    Column("version", BigInteger),  # the vendor's, of the last capture
    Column("hash", Text, nullable=False),
    Column("asked", BigInteger, nullable=False),
    Column("answered", BigInteger, nullable=False),
    Column("captured", BigInteger, nullable=False),
    Column("delivered_revision", Integer),
    Column("delivered_version", BigInteger),
    Column("fingerprint", Text),  # of the mapping and the lookups that made the last delivery
    Column("lease_token", BigInteger, nullable=False, server_default="0"),  # only grows
    Column("lease_until", BigInteger),
    Column("holder", Text),
    Column("run", BigInteger),
    UniqueConstraint("flow", "source_id"),
)
_CLAIMABLE = "state IN ('pending', 'doubt', 'waiting', 'blocked')"
Index(
    "ix_delivery_due",
    delivery.c.flow,
    delivery.c.lane,
    delivery.c.due,
    postgresql_where=text(_CLAIMABLE),
    sqlite_where=text(_CLAIMABLE),
)
Index(
    "ix_delivery_leased",
    delivery.c.entity,
    postgresql_where=text("lease_until IS NOT NULL"),
    sqlite_where=text("lease_until IS NOT NULL"),
)
Index("ix_delivery_state", delivery.c.flow, delivery.c.state)
Index("ix_delivery_title", delivery.c.title)
Index("ix_delivery_entity", delivery.c.entity)

# The raw source record as it was read; beside the ledger so that a change of state does not rewrite it.
payload = Table(
    "payload",
    metadata,
    _id("delivery"),
    Column("body", Text, nullable=False),  # JSON: {"record": {...}, "related": {...}}
    Column("previous", Text),  # the last delivered record, for mappings that ask what changed
)

# Writes that are about to leave, or have left without an answer. A row of its own: it comes and goes with every write,
# and the ledger's wide and much indexed row would be rewritten twice for it.
intent = Table(
    "intent",
    metadata,
    Column("delivery", BigInteger, nullable=False),
    Column("token", BigInteger, nullable=False),  # of the lease under which it was written down
    Column("body", Text, nullable=False),  # JSON
    PrimaryKeyConstraint("delivery", "token"),
    sqlite_with_rowid=False,
)

attempt = Table(
    "attempt",
    metadata,
    _id(),
    Column("delivery", BigInteger, nullable=False, index=True),
    Column("at", BigInteger, nullable=False, index=True),
    Column("op", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("target_id", Text),
    Column("code", Text),
    Column("message", Text),
    Column("digest", Text),  # of the request
    Column("fields", Text),  # JSON: names of the fields that were sent
    Column("before", Text),  # JSON: what was there
    Column("took", Integer),  # milliseconds
)

# Match keys of creates in flight: two sources that are about to create the same thing meet here.
reservation = Table(
    "reservation",
    metadata,
    Column("system", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("delivery", BigInteger, nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("system", "object", "key"),
    sqlite_with_rowid=False,
)

# A delivery waits for (or owes a field to) an entity that the target system does not have yet.
waiting = Table(
    "waiting",
    metadata,
    Column("delivery", BigInteger, nullable=False),
    Column("entity", BigInteger, nullable=False),
    Column("field", Text, nullable=False, server_default=""),  # the field that is owed; empty: it can't go without
    PrimaryKeyConstraint("delivery", "entity", "field"),
    Index("ix_waiting_entity", "entity"),
)

# ... or for a row of a lookup table.
waiting_lookup = Table(
    "waiting_lookup",
    metadata,
    Column("delivery", BigInteger, nullable=False),
    Column("table", Text, nullable=False),
    Column("key", Text, nullable=False),  # JSON list
    PrimaryKeyConstraint("delivery", "table", "key"),
    Index("ix_waiting_lookup_key", "table", "key"),
)

cursor = Table(
    "cursor",
    metadata,
    Column("flow", Text, nullable=False),
    Column("stream", Text, nullable=False),
    Column("position", Text, nullable=False),
    Column("updated", BigInteger, nullable=False),
    PrimaryKeyConstraint("flow", "stream"),
)

# Webhooks as they arrived, stored before they are acknowledged.
inbox = Table(
    "inbox",
    metadata,
    _id(),
    Column("system", Text, nullable=False),
    Column("dedupe", Text, nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("state", Text, nullable=False),  # new | handled | failed
    Column("events", Text, nullable=False),  # JSON: [{object, id, kind, at}]
    Column("body", LargeBinary, nullable=False),
    Column("headers", Text, nullable=False),
    Column("copies", Integer, nullable=False, server_default="1"),
    Column("error", Text),
    Column("handled", BigInteger),
    UniqueConstraint("system", "dedupe"),
    Index("ix_inbox_new", "state", "id"),
)

# Webhooks are hints to fetch; many for one record become one fetch.
hint = Table(
    "hint",
    metadata,
    Column("system", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("record_id", Text, nullable=False),
    Column("stored", BigInteger, nullable=False),
    Column(
        "revision", Integer, nullable=False, server_default="1"
    ),  # a fetch covers the hints stored before it was asked
    Column("due", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    PrimaryKeyConstraint("system", "object", "record_id"),
    Index("ix_hint_due", "due"),
)

run = Table(
    "run",
    metadata,
    _id(),
    Column("flow", Text, nullable=False, index=True),
    Column("kind", Text, nullable=False),  # read | full | record | hint | link | reconcile
    Column("cause", Text, nullable=False),  # schedule | webhook | person | start
    Column("state", Text, nullable=False),  # running | finished | failed | interrupted
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger),
    Column("beat", BigInteger),  # proof of life
    Column("counts", Text, nullable=False, server_default="{}"),
    Column("error", Text),
)

schedule = Table(
    "schedule",
    metadata,
    Column("name", Text, primary_key=True),
    Column("flow", Text, nullable=False),
    Column("kind", Text, nullable=False),  # read | sweep | reconcile
    Column("trigger", Text, nullable=False),  # JSON, as in hub.yaml
    Column("next_due", BigInteger),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("reason", Text),
    Column("last_due", BigInteger),
    Column("last_run", BigInteger),
    Column("missed", Integer, nullable=False, server_default="0"),
    Column("lease_token", BigInteger, nullable=False, server_default="0"),
    Column("lease_until", BigInteger),
    Column("holder", Text),
)

# What people decided about a flow, and since when it lives.
flow = Table(
    "flow",
    metadata,
    Column("name", Text, primary_key=True),
    Column("started", BigInteger, nullable=False),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("reason", Text),
    Column("until", BigInteger),
)

system = Table(
    "system",
    metadata,
    Column("name", Text, primary_key=True),
    Column("connector", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("first_seen", BigInteger, nullable=False),
)

budget = Table(
    "budget",
    metadata,
    Column("system", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("window", BigInteger, nullable=False),
    Column("used", BigInteger, nullable=False),
    PrimaryKeyConstraint("system", "name", "window"),
)

# Systems that are left alone, as far as one process has noticed and the others want to know.
rest = Table(
    "rest",
    metadata,
    Column("system", Text, nullable=False),
    Column("kind", Text, nullable=False),  # down | quota
    Column("reason", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    PrimaryKeyConstraint("system", "kind"),
)

# Log-ins that processes share, sealed with a key that is not in the database.
token = Table(
    "token",
    metadata,
    Column("key", Text, primary_key=True),
    Column("sealed", Text, nullable=False),
    Column("changed", BigInteger, nullable=False),
)

lookup = Table(
    "lookup",
    metadata,
    Column("table", Text, nullable=False),
    Column("key", Text, nullable=False),  # JSON list
    Column("value", Text, nullable=False),  # JSON
    Column("changed", BigInteger, nullable=False),
    PrimaryKeyConstraint("table", "key"),
)

sequence = Table(
    "sequence",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)

mapping_version = Table(
    "mapping_version",
    metadata,
    _id(),
    Column("mapping", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("note", Text),
    UniqueConstraint("mapping", "fingerprint"),
)

schema_snapshot = Table(
    "schema_snapshot",
    metadata,
    Column("system", Text, nullable=False),
    Column("object", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    PrimaryKeyConstraint("system", "object"),
)

# The ids that a full scan has shown so far: what the ledger knows beside them is a suspicion.
scanned = Table(
    "scanned",
    metadata,
    Column("run", BigInteger, nullable=False),
    Column("source_id", Text, nullable=False),
    PrimaryKeyConstraint("run", "source_id"),
)

# Processes at work, each by a random name; host and pid are for people.
process = Table(
    "process",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", BigInteger, nullable=False),
    Column("beat", BigInteger, nullable=False),
)

audit = Table(
    "audit",
    metadata,
    _id(),
    Column("at", BigInteger, nullable=False, index=True),
    Column("who", Text, nullable=False),
    Column("act", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("detail", Text),
    Column("why", Text),
)
