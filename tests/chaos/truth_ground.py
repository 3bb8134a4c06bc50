"""The evidence laid out for the truths: both systems with their journals, and which records stand for which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.evidence import Evidence, Row
from tests.chaos.truth_findings import HUB, Finding, Journal, Kind, Owned

CRM, ERP = "crm", "erp"  # the names of the systems in the project that is under test

Keys = Callable[[Row], Iterable[Hashable]]


@dataclass(slots=True)
class Side:
    """One system: its live records by object and id, and its journal."""

    name: str
    records: Mapping[str, Mapping[str, Row]]
    journal: Journal

    def live(self, object: str) -> Mapping[str, Row]:
        return self.records.get(object, {})


class Ground:
    """Both sides, what the ledger says of each delivery, and what was brought about on purpose."""

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.crm = _side(CRM, evidence.crm_records, evidence.crm_journal)
        self.erp = _side(ERP, evidence.erp_records, evidence.erp_journal)
        self.states = {(row["flow"], str(row["source_id"])): str(row["state"]) for row in evidence.deliveries}

    def excused(self, flow: str, id: str) -> bool:
        """Whether the world saw to it that this record can't arrive: dead or held on purpose."""
        return (flow, id) in self.evidence.expected_dead or (flow, id) in self.evidence.expected_held

    def blocked(self, flow: str, id: str) -> bool:
        """Whether the hub says that the target refuses for now (whether that is true, the ledger's truth asks)."""
        return self.states.get((flow, id)) == "blocked"


def _side(name: str, records: Mapping[object, Mapping[object, Row]], journal: Sequence[Row]) -> Side:
    found = {str(object): {str(id): row for id, row in rows.items()} for object, rows in records.items()}
    return Side(name, found, Journal(journal))


def stamp(side: str, object: str, id: str) -> tuple[str, str]:
    """What the hub writes into a record that it makes: of which source record it is made."""
    return "stamp", f"{side}:{object}:{id}"


class Targets:
    """The records of one target object, by what ties them to a source: stamp and business keys."""

    def __init__(self, side: Side, object: str, keys: Keys) -> None:
        self.side = side
        self.object = object
        self._keys = keys
        self._live: defaultdict[Hashable, list[str]] = defaultdict(list)
        self._gone: defaultdict[Hashable, list[str]] = defaultdict(list)
        self._rank = side.journal.order()
        self._claimed: set[str] = set()
        for id, row in side.live(object).items():
            for key in keys(row):
                self._live[key].append(id)
        for id in side.journal.ids(object):
            last = side.journal.of(object, id)[-1]
            if last["after"] is None:
                for key in keys(last["before"]):
                    self._gone[key].append(id)

    def row(self, id: str) -> Row:
        return self.side.live(self.object)[id]

    def of(self, keys: Iterable[Hashable]) -> list[str]:
        """The live records that carry one of these keys, the oldest first."""
        found = {id for key in keys for id in self._live.get(key, ())}
        return sorted(found, key=lambda id: self._rank.get((self.object, id), -1))

    def the_one(self, who: str, keys: Iterable[Hashable], *, excused: bool) -> Generator[Finding, None, str | None]:
        """The one record that has to stand for a source record. None is lost; what the hub made beside it, doubled.

        A person's copy of it is no mistake of the hub's, and nor is it that a person has taken it out.
        """
        keys = list(keys)
        found = self.of(keys)
        self._claimed.update(found)
        if not found:
            taken = any(
                self.side.journal.taken_out_by_person(self.object, id) for key in keys for id in self._gone.get(key, ())
            )
            if not taken and not excused:
                yield Finding(Kind.LOST, f"{who} did not arrive in the {self.side.name} ({self.object})")
            return None
        for id in found[1:]:
            if self.side.journal.made_by_hub(self.object, id):
                text = f"{who} stands more than once in the {self.side.name}: {self.object} {id} beside {found[0]}"
                yield Finding(Kind.DUPLICATES, text)
        ours = [id for id in found if self.side.journal.made_by_hub(self.object, id)]
        return ours[0] if ours else found[0]

    def unclaimed(self, source: Side, object: str, keys: Callable[[str, Row], Iterable[Hashable]]) -> Iterator[Finding]:
        """What the hub made and no source record asks for (call it last): a second record of one whose keys changed.

        `keys` are those of a source record's version; what was made of a source record that is gone by now is left.
        """
        known: defaultdict[Hashable, set[str]] = defaultdict(set)
        for id in source.journal.ids(object):
            for version in source.journal.versions(object, id):
                for key in keys(id, version):
                    known[key].add(id)
        for id in self.side.live(self.object):
            if id in self._claimed or not self.side.journal.made_by_hub(self.object, id):
                continue
            made = self.side.journal.versions(self.object, id)[0]
            sources = {one for key in self._keys(made) for one in known.get(key, ())}
            living = sorted(one for one in sources if one in source.live(object))
            what = f"{self.object} {id} in the {self.side.name}"
            if living:
                yield Finding(Kind.DUPLICATES, f"{what} was made of {object} {living[0]}, which another one stands for")
            elif not sources:
                yield Finding(Kind.STALE, f"{what} was made by the hub, and no {object} ever asked for it")


def hub_writes(journal: Journal, object: str, id: str) -> list[tuple[Row | None, Row]]:
    """What the hub's writes to one record found and left."""
    return [
        (entry["before"], entry["after"])
        for entry in journal.of(object, id)
        if entry["actor"] == HUB and entry["after"] is not None
    ]


def as_it_was_found(target: Journal, object: str, id: str, sources: Sequence[Row], field: Owned) -> bool:
    """Whether a field stands as it did before the hub came, and its owner has not touched it since.

    Two systems that had a record already may differ: adopting it fills what is empty, and overwrites nothing.
    """
    if target.made_by_hub(object, id):
        return False
    versions = target.versions(object, id)
    first, last = field.stands(versions[0]), field.stands(versions[-1])
    return first is not None and first == last and len({field.due(version) for version in sources}) == 1
