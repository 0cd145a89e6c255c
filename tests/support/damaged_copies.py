"""Copies that are damaged, cut short, or were never made by `export`, each of which `import` refuses."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sip_trunks.operations.transfer import CopyFormat


def make_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("x")


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Return what changes the manifest of a copy."""

    def damage(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        change(manifest)
        (folder / "manifest.json").write_text(json.dumps(manifest))

    return damage


def edit_trunks(**changes: Any) -> Callable[[Path], object]:
    return edit(lambda manifest: manifest["tables"]["sip_trunks"].update(changes))


def edit_column(name: str, kind: Any, table: str = "sip_trunks") -> Callable[[Path], object]:
    return edit(lambda manifest: manifest["tables"][table]["columns"].update({name: kind}))


def write_manifest(content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / "manifest.json").write_bytes(content)


def drop_column(folder: Path) -> None:
    edit_trunks(columns={"account": "text", "id": "bigint"})(folder)


def rename_column(new: str) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        table = pq.read_table(folder / "sip_trunks.parquet")
        names = [new if name == "zz_note" else name for name in table.column_names]
        pq.write_table(table.rename_columns(names), folder / "sip_trunks.parquet")

        def change(manifest: dict[str, Any]) -> None:
            columns = manifest["tables"]["sip_trunks"]["columns"]
            manifest["tables"]["sip_trunks"]["columns"] = {
                new if name == "zz_note" else name: kind for name, kind in columns.items()
            }

        edit(change)(folder)

    return damage


def rewrite(change: Callable[[pa.Table], pa.Table], table: str = "sip_trunks") -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        file = folder / f"{table}.parquet"
        pq.write_table(change(pq.read_table(file)), file)

    return damage


def with_null_id(table: pa.Table) -> pa.Table:
    return table.set_column(table.schema.get_field_index("id"), "id", pa.nulls(len(table), pa.int64()))


def without_observations(folder: Path) -> None:
    rewrite(lambda table: table.slice(0, 0), "sip_trunk_snapshots")(folder)
    edit(lambda manifest: manifest["tables"]["sip_trunk_snapshots"].update(row_count=0))(folder)


def cut(name: str, size: float) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(len(content) * size)])

    return damage


def replace_bytes(name: str, old: bytes, new: bytes) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        content = (folder / name).read_bytes()
        assert old in content
        (folder / name).write_bytes(content.replace(old, new, 1))

    return damage


def drop_line(folder: Path) -> None:
    lines = (folder / "sip_trunks.csv").read_bytes().split(b"\n")
    (folder / "sip_trunks.csv").write_bytes(b"\n".join([*lines[:1], *lines[2:]]))


def in_duckdb(*statements: str) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        with duckdb.connect(folder / "warehouse.duckdb") as connection:
            connection.execute("DROP VIEW main.sip_trunks")
            connection.execute("DROP VIEW main.drift")
            for statement in statements:
                connection.execute(statement)

    return damage


SPY = (
    "ALTER TABLE famulor.sip_trunks RENAME TO real",
    "CREATE VIEW famulor.hosts AS FROM read_text('/etc/hosts')",
    "CREATE VIEW famulor.sip_trunks AS SELECT * REPLACE (content AS zz_note) FROM famulor.real, famulor.hosts",
)
INJECTION = "x\"; DROP TABLE famulor.sip_trunks; COPY (SELECT 1) TO 'stolen'; --"
DAMAGES: dict[str, tuple[CopyFormat, Callable[[Path], object]]] = {
    "no manifest": ("parquet", lambda folder: (folder / "manifest.json").unlink()),
    "no folder": ("parquet", shutil.rmtree),
    "a file": ("parquet", make_file),
    "manifest is not JSON": ("parquet", write_manifest(b"<html>")),
    "manifest is not text": ("parquet", write_manifest(b"\xff\xfe\x00")),
    "manifest is empty": ("parquet", write_manifest(b"")),
    "manifest is a list": ("parquet", write_manifest(b"[]")),
    "manifest is nested too deeply": ("parquet", write_manifest(b"[" * 200_000)),
    "manifest of another program": ("parquet", write_manifest(b'{"name": "npm", "version": "1", "tables": []}')),
    "manifest without tables": ("parquet", edit(lambda manifest: manifest.update(tables=None))),
    "manifest lacks a table": ("parquet", edit(lambda manifest: manifest["tables"].pop("schema_drift"))),
    "manifest of an unknown format": ("parquet", edit(lambda manifest: manifest.update(format="xml"))),
    "manifest with a list as format": ("parquet", edit(lambda manifest: manifest.update(format=["csv"]))),
    "manifest of another format": ("parquet", edit(lambda manifest: manifest.update(format="csv"))),
    "table is not an object": ("parquet", edit(lambda manifest: manifest["tables"].update(sip_trunks="all"))),
    "table has another member": ("parquet", edit_trunks(sql="DROP TABLE x")),
    "table without columns": ("parquet", edit_trunks(columns=None)),
    "table with a list of columns": ("parquet", edit_trunks(columns=["account", "id"])),
    "table with an empty object of columns": ("parquet", edit_trunks(columns={})),
    "columns are a text": ("csv", edit_trunks(columns="account")),
    "row count is text": ("parquet", edit_trunks(row_count="many; DROP TABLE x")),
    "row count is null": ("parquet", edit_trunks(row_count=None)),
    "row count is too large": ("parquet", edit_trunks(row_count=10**30)),
    "type with SQL": ("parquet", edit_column("zz_note", "text); DROP TABLE x; --")),
    "type with SQL in csv": ("csv", edit_column("zz_note", "VARCHAR'}); COPY (SELECT 1) TO 'stolen'; --")),
    "type that is a list": ("parquet", edit_column("zz_note", ["text"])),
    "type that is an object": ("csv", edit_column("zz_note", {"a": 1})),
    "type of other values": ("parquet", edit_column("allowed_inbound_ips", "double")),
    "type of other values, text": ("parquet", edit_column("sip_username", "bigint")),
    "type of other values, csv": ("csv", edit_column("sip_username", "bool")),
    "type other than declared": ("parquet", edit_column("id", "text")),
    "type other than declared, csv": ("csv", edit_column("id", "text")),
    "type other than declared, observations": ("csv", edit_column("snapshot_at", "text", "sip_trunk_snapshots")),
    "column that is not there": ("parquet", edit_column(INJECTION, "text")),
    "column that is not there, csv": ("csv", edit_column(INJECTION, "text")),
    "column that is not there, duckdb": ("duckdb", edit_column(INJECTION, "text")),
    "column whose name no field gets": ("parquet", rename_column(INJECTION)),
    "column name in capitals": ("parquet", rename_column("ZZ_NOTE")),
    "column of dlt": ("parquet", rename_column("_dlt_id")),
    "columns are missing": ("parquet", drop_column),
    "table of another name": (
        "parquet", edit(lambda manifest: manifest["tables"].update({INJECTION: manifest["tables"]["sip_trunks"]})),
    ),
    "key that is null": ("parquet", rewrite(with_null_id)),
    "no observation": ("parquet", without_observations),
    "parquet cut": ("parquet", cut("sip_trunks_history.parquet", 0.9)),
    "parquet empty": ("parquet", cut("sip_trunks_history.parquet", 0)),
    "parquet missing": ("parquet", lambda folder: (folder / "schema_drift.parquet").unlink()),
    "parquet too short": ("parquet", rewrite(lambda table: table.slice(1))),
    "parquet too long": ("parquet", rewrite(lambda table: pa.concat_tables([table, table.slice(0, 1)]))),
    "parquet without a column": ("parquet", rewrite(lambda table: table.drop_columns(["zz_note"]))),
    "csv cut": ("csv", cut("sip_trunks_history.csv", 0.9)),
    "csv cut by a few bytes": ("csv", cut("sip_trunks.csv", 0.9999)),
    "csv empty": ("csv", cut("sip_trunks.csv", 0)),
    "csv missing": ("csv", lambda folder: (folder / "sip_trunks.csv").unlink()),
    "csv lacks a line": ("csv", drop_line),
    "csv with a word for a number": ("csv", replace_bytes("sip_trunks.csv", b'"42"', b'"x2"')),
    "csv with a key that is null": ("csv", replace_bytes("sip_trunks.csv", b'"42"', b"")),
    "csv is not UTF-8": ("csv", replace_bytes("sip_trunks.csv", b"sip.provider.com", b"sip.provider\xff\xfe")),
    "duckdb cut": ("duckdb", cut("warehouse.duckdb", 0.2)),
    "duckdb empty": ("duckdb", cut("warehouse.duckdb", 0)),
    "duckdb garbage": ("duckdb", lambda folder: (folder / "warehouse.duckdb").write_bytes(b"no database" * 9999)),
    "duckdb missing": ("duckdb", lambda folder: (folder / "warehouse.duckdb").unlink()),
    "duckdb lacks a row": ("duckdb", in_duckdb("DELETE FROM famulor.sip_trunks WHERE id = 42 AND account = 'beta'")),
    "duckdb lacks a table": ("duckdb", in_duckdb("DROP TABLE famulor.sip_trunks")),
    "duckdb with a view on a file of this machine": ("duckdb", in_duckdb(*SPY)),
}  # fmt: skip
"""By what is wrong: the format of the copy, and what damages it."""
