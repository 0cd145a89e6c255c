"""The prompt of `sip-trunks sql`: statements over several lines, history, completion of tables and columns."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.filters import Condition, completion_is_selected, has_completions
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer

from sip_trunks.commands.sql_query import answer, write_answer
from sip_trunks.core.errors import SipTrunksError, Terminated
from sip_trunks.core.settings import prepare_state_dir
from sip_trunks.destinations import open_destination
from sip_trunks.reporting.formats import print_table
from trunk_transforms.schema.tables import SIP_TRUNK_SNAPSHOTS
from trunk_transforms.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import FrameType

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding import KeyPressEvent

    from sip_trunks.core.settings import Settings
    from sip_trunks.destinations.base import Destination

HISTORY = "sql_history"
_MOST_ROWS = 1000
_HELP = """A statement ends with a semicolon; Tab completes, Up brings back. Everything is read only.
  .tables  what can be asked      .help  this      .quit  leave (or Ctrl-D)"""
_KEYWORDS = (
    *(
        "SELECT",
        "FROM",
        "WHERE",
        "GROUP BY",
        "ORDER BY",
        "HAVING",
        "QUALIFY",
        "LIMIT",
        "JOIN",
        "LEFT JOIN",
        "ANTI JOIN",
    ),
    *("ON", "USING", "AND", "OR", "NOT", "IN", "IS NULL", "IS NOT NULL", "LIKE", "BETWEEN", "AS", "ASC", "DESC", "ALL"),
    *("DISTINCT", "COUNT(*)", "SUM", "MIN", "MAX", "CASE", "WHEN", "THEN", "ELSE", "END", "WITH", "UNION ALL", "OVER"),
    *("PARTITION BY", "FILTER", "INTERVAL", "DESCRIBE", "SUMMARIZE", "SHOW TABLES", "NOW()"),
)

_WORD = re.compile(r"[\w.]+")

Columns = dict[str, list[str]]


def ask(settings: Settings, *, form: str, raw: bool) -> int:
    """Answer one statement after the other until somebody leaves; return 0.

    Each is asked of what is published at that time, so that the prompt never holds anything up and is never behind.
    Raises what reading raises if nothing is stored.
    """
    # Ctrl-C stops a query, not the command.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    destination = open_destination(settings)
    columns = _read_columns(destination)
    print(f"{destination.location}, last seen {_read_last_look(destination)}. .help for help")
    session = _make_session(settings, columns)
    _end_in_good_order(session)
    while True:
        try:
            text = session.prompt().strip()
            if text in (".quit", ".exit"):
                return 0
            if text:
                _respond(settings, text, columns, form=form, raw=raw)
        except Terminated:  # not a line to drop, but the end
            raise
        except KeyboardInterrupt:  # the line is dropped, or what it has begun, as every shell does
            continue
        except EOFError:
            return 0


def _end_in_good_order(session: PromptSession[str]) -> None:
    """Have SIGTERM end the line that is being typed, so that the terminal is left as it was; else what it ended before.

    An exception that comes in the midst of drawing the line could be lost, and the terminal stay without echo.
    """
    otherwise = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        application = session.app
        if application.is_running and application.loop:
            application.loop.call_soon_threadsafe(lambda: application.exit(exception=Terminated()))
        elif callable(otherwise):
            otherwise(number, frame)

    signal.signal(signal.SIGTERM, end)


def _respond(settings: Settings, text: str, columns: Columns, *, form: str, raw: bool) -> None:
    if text == ".tables":
        print_table(["name", "columns"], [[name, ", ".join(found)] for name, found in columns.items()])
    elif text.startswith("."):
        print(_HELP)
    else:
        try:
            found = answer(settings, text, {}, form=form, most=_MOST_ROWS)
            write_answer(found, form=form, raw=raw)
            if found.count > _MOST_ROWS:
                print(f"the first {_MOST_ROWS:,} of {found.count:,} rows; LIMIT says which")
        except SipTrunksError as error:
            print(error)
        except Terminated:
            raise
        except KeyboardInterrupt:
            print("stopped")


def _read_last_look(destination: Destination) -> str:
    with destination.reading((SIP_TRUNK_SNAPSHOTS.name,)) as connection:
        ((moment,),) = connection.execute(
            f"SELECT strftime(max(snapshot_at), '%Y-%m-%d %H:%MZ') FROM {SIP_TRUNK_SNAPSHOTS.name}"
        ).fetchall()
    return str(moment)


def _read_columns(destination: Destination) -> Columns:
    """Return the columns of every table and view, as they are asked for, and the macros without any."""
    with destination.reading() as connection:
        rows = connection.execute(
            "SELECT CASE schema_name WHEN 'main' THEN table_name ELSE schema_name || '.' || table_name END, "
            "list(column_name ORDER BY column_index) FROM duckdb_columns() WHERE NOT internal "
            "GROUP BY schema_name, table_name ORDER BY schema_name <> 'main', schema_name, table_name"
        ).fetchall()
        macros = connection.execute(
            "SELECT DISTINCT function_name || '(' || array_to_string(parameters, ', ') || ')' "
            "FROM duckdb_functions() WHERE NOT internal ORDER BY ALL"
        ).fetchall()
    return {name: [printable(column, 200) for column in found] for name, found in rows} | {n: [] for (n,) in macros}


def _make_session(settings: Settings, columns: Columns) -> PromptSession[str]:
    return PromptSession(
        "sip-trunks> ",
        prompt_continuation="       ...> ",
        multiline=True,
        history=_open_history(settings),
        completer=_Words(columns),
        complete_while_typing=False,
        lexer=PygmentsLexer(SqlLexer),
        key_bindings=_make_keys(),
        enable_history_search=True,
    )


def _open_history(settings: Settings) -> History:
    """Return what was typed before, in a file that only its owner may read; of this session, if there can be none."""
    path = settings.state_dir / HISTORY
    try:
        prepare_state_dir(settings)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    except (OSError, SipTrunksError):
        return InMemoryHistory()
    return FileHistory(path)


def _make_keys() -> KeyBindings:
    """Have Enter end a statement that has its semicolon, and a command of the prompt; otherwise begin a new line."""
    keys = KeyBindings()

    def is_complete(text: str) -> bool:
        return not text.strip() or text.strip().startswith(".") or text.rstrip().endswith(";")

    @keys.add("enter", filter=~Condition(lambda: has_completions() and completion_is_selected()))
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_complete(buffer.text):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n")

    return keys


class _Words(Completer):
    """Completes commands of the prompt, tables, columns (of the tables in the statement first) and keywords."""

    def __init__(self, columns: Mapping[str, Sequence[str]]) -> None:
        self._columns = columns

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        word = document.get_word_before_cursor(WORD=False, pattern=_WORD)
        if document.text.lstrip().startswith("."):
            candidates: Iterable[str] = (".tables", ".help", ".quit")
            word = document.text_before_cursor.lstrip()
        else:
            # After an alias or a table comes a column of it: only that part is completed.
            known = any(name.startswith(word.lower()) for name in self._columns)
            word = word if known else word.rpartition(".")[2]
            candidates = self._candidates(document.text)
        begin = word.lower()
        for candidate in dict.fromkeys(candidates):
            if begin and candidate.lower().startswith(begin):
                yield Completion(candidate, start_position=-len(word))

    def _candidates(self, text: str) -> Iterable[str]:
        words = set(_WORD.findall(text.lower()))
        for name, columns in self._columns.items():
            if name in words:
                yield from columns
        yield from self._columns
        yield from _KEYWORDS
        for columns in self._columns.values():
            yield from columns
