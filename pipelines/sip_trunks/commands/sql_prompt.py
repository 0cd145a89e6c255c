"""The prompt of `sip-trunks sql`: statements over several lines, history, completion of tables and columns."""

import os
import re
import signal
from collections.abc import Callable
from functools import partial
from itertools import chain
from types import FrameType

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer

from sip_trunks.commands.signals import changed_handlers
from sip_trunks.commands.sql_query import read_rows
from sip_trunks.core.errors import SipTrunksError, Terminated
from sip_trunks.core.settings import Settings, prepare_state_dir
from sip_trunks.destinations import open_destination
from sip_trunks.destinations.base import Destination
from sip_trunks.reporting.formats import print_table, write_rows
from sip_trunks.warehouse.state import read_observation_span
from trunk_transforms.schema.tables import SIP_TRUNK_SNAPSHOTS
from trunk_transforms.text import printable

HISTORY = "sql_history"
_MOST_ROWS = 1000
_HELP = """A statement ends with a semicolon. Tab completes, Up shows earlier statements. Queries only read.
  .tables  tables and columns      .help  this help      .quit  leave (or Ctrl-D)"""
_KEYWORDS = """SELECT, FROM, WHERE, GROUP BY, ORDER BY, HAVING, QUALIFY, LIMIT, JOIN, LEFT JOIN, ANTI JOIN, ON, USING,
AND, OR, NOT, IN, IS NULL, IS NOT NULL, LIKE, BETWEEN, AS, ASC, DESC, ALL, DISTINCT, COUNT(*), SUM, MIN, MAX, CASE,
WHEN, THEN, ELSE, END, WITH, UNION ALL, OVER, PARTITION BY, FILTER, INTERVAL, DESCRIBE, SUMMARIZE, SHOW TABLES, NOW()"""
_WORD = re.compile(r"[\w.]+")

Columns = dict[str, list[str]]


def run_prompt(settings: Settings, *, format_name: str, raw: bool) -> int:
    """Run one statement after the other until the user leaves; return 0.

    Each statement reads the data that is published at that time, so the prompt blocks no run and shows no old data.
    Raises NothingStoredError if nothing is stored, and DestinationError if the data cannot be read.
    """
    destination = open_destination(settings)
    columns = _read_columns(destination)
    with destination.reading((SIP_TRUNK_SNAPSHOTS.name,)) as connection:
        span = read_observation_span(connection)
    print(f"{destination.location}, last seen {f'{span[1]:%Y-%m-%d %H:%MZ}' if span else 'never'}. .help for help")
    session: PromptSession[str] = PromptSession(
        "sip-trunks> ",
        prompt_continuation="       ...> ",
        multiline=Condition(_is_incomplete),
        history=_open_history(settings),
        completer=WordCompleter(partial(_list_words, columns), ignore_case=True, pattern=_WORD),
        complete_while_typing=False,
        lexer=PygmentsLexer(SqlLexer),
        enable_history_search=True,
    )
    # Ctrl-C stops a query, not the command.
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _end_line(session)}
    with changed_handlers(handlers):
        while True:
            try:
                text = session.prompt().strip()
                if text in (".quit", ".exit"):
                    return 0
                if text:
                    _respond(settings, text, columns, format_name=format_name, raw=raw)
            except Terminated:  # a KeyboardInterrupt that ends the prompt
                raise
            except KeyboardInterrupt:  # drop the line or stop the output, as a shell does
                continue
            except EOFError:
                return 0


def _end_line(session: PromptSession[str]) -> Callable[[int, FrameType | None], None]:
    """Return a handler of SIGTERM that ends the line being typed or, between lines, calls the current handler.

    An exception raised while the line is drawn could be lost, and leave the terminal without echo.
    """
    otherwise = signal.getsignal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        application = session.app
        if application.is_running and application.loop:
            application.loop.call_soon_threadsafe(lambda: application.exit(exception=Terminated()))
        elif callable(otherwise):
            otherwise(number, frame)

    return end


def _respond(settings: Settings, text: str, columns: Columns, *, format_name: str, raw: bool) -> None:
    if text == ".tables":
        print_table(["name", "columns"], [[name, ", ".join(found)] for name, found in columns.items()])
        return
    if text.startswith("."):
        print(_HELP)
        return
    try:
        names, rows, count = read_rows(settings, text, {}, format_name=format_name, most=_MOST_ROWS)
        write_rows(names, rows, format_name=format_name, raw=raw)
        if count > _MOST_ROWS:
            print(f"the first {_MOST_ROWS:,} of {count:,} rows; choose others with LIMIT and OFFSET")
    except SipTrunksError as error:
        print(error)
    except Terminated:
        raise
    except KeyboardInterrupt:
        print("stopped")


def _read_columns(destination: Destination) -> Columns:
    """Return the columns of every table and view by its name in a query; macros have none."""
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


def _open_history(settings: Settings) -> History:
    """Return the history, in a file that only its owner can read; in memory if the file cannot be written."""
    path = settings.state_dir / HISTORY
    try:
        prepare_state_dir(settings)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    except (OSError, SipTrunksError):
        return InMemoryHistory()
    return FileHistory(path)


def _is_incomplete() -> bool:
    """Whether Enter starts a new line, because the text is neither a statement nor a command of the prompt."""
    text = get_app().current_buffer.text.strip()
    return bool(text) and not text.startswith(".") and not text.endswith(";")


def _list_words(columns: Columns) -> list[str]:
    """Return the words to complete: commands of the prompt, or columns of tables in the statement before all others."""
    document = get_app().current_buffer.document
    if document.text.lstrip().startswith("."):
        return [".tables", ".help", ".quit"]
    mentioned = set(_WORD.findall(document.text.lower()))
    near = chain.from_iterable(found for name, found in columns.items() if name in mentioned)
    words = [*near, *columns, *re.split(r",\s", _KEYWORDS), *chain.from_iterable(columns.values())]
    # After the alias of a table, its columns.
    alias, dot, _ = document.get_word_before_cursor(pattern=_WORD).rpartition(".")
    return list(dict.fromkeys([*words, *(f"{alias}.{word}" for word in words if dot)]))
