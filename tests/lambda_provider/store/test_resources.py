"""Resources beside functions: units of work, order, durability, the archives that they count on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from lambda_provider.store.archives import ArchiveStore
from lambda_provider.store.journal import Journal
from lambda_provider.store.resources import ResourceTable
from lambda_provider.store.store import Store

HERE = ("000000000000", "us-east-1")


@dataclass(frozen=True, kw_only=True)
class Thing:
    name: str
    account_id: str = HERE[0]
    region: str = HERE[1]
    sequence: int = 0
    text: str = ""
    code: str = ""


def shop(journal: Journal | None = None, archives: ArchiveStore | None = None) -> tuple[Store, ResourceTable[Thing]]:
    store = Store(archives or ArchiveStore())
    table = store._table("thing", Thing, lambda thing: [thing.code] if thing.code else [])
    if journal is not None:
        store.load(journal, store.read(journal.load().records))
    return store, table


def put(table: ResourceTable[Thing], *things: Thing) -> None:
    with table.changing(*HERE) as editor:
        for thing in things:
            editor.put(replace(thing, sequence=editor.next_sequence))


def test_a_change_is_visible_only_when_its_block_ended_well() -> None:
    _, table = shop()
    with table.changing(*HERE) as editor:
        editor.put(Thing(name="a"))
        assert table.get(*HERE, "a") is None
    assert table.get(*HERE, "a") is not None
    with pytest.raises(RuntimeError, match="no"), table.changing(*HERE) as editor:
        editor.remove("a")
        raise RuntimeError("no")
    assert table.get(*HERE, "a") is not None


def test_accounts_and_regions_do_not_see_each_other() -> None:
    _, table = shop()
    put(table, Thing(name="a"))
    assert table.values("111111111111", "us-east-1") == table.values(HERE[0], "eu-west-1") == []


def test_order_of_creation_survives_a_restart(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    _, table = shop(journal)
    put(table, Thing(name="b"), Thing(name="a"), Thing(name="c"))
    with table.changing(*HERE) as editor:
        editor.put(replace(table.get(*HERE, "b"), text="new"))
        editor.remove("a")
    journal.close()
    journal = Journal(tmp_path)
    _, again = shop(journal)
    assert [(thing.name, thing.text) for thing in again.values(*HERE)] == [("b", "new"), ("c", "")]
    journal.close()


def test_code_stays_as_long_as_a_resource_counts_on_it() -> None:
    archives = ArchiveStore()
    _, table = shop(archives=archives)
    with archives.hold(b"zip") as archive:
        put(table, Thing(name="a", code=archive.sha256))
    assert archive.path.exists()
    with table.changing(*HERE) as editor:
        editor.remove("a")
    assert not archive.path.exists()
    archives.close()


def test_reset_empties_tables_durably(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    store, table = shop(journal)
    put(table, Thing(name="a"))
    store.clear()
    journal.close()
    journal = Journal(tmp_path)
    _, again = shop(journal)
    assert again.values(*HERE) == []
    journal.close()
