"""What the notebook is made of: what is stored, read once, and how frames, figures and charts are shown.

Everything comes out in two forms: with controls where marimo runs the notebook, and without where Jupyter or plain
Python does. Text from the API is text in both: no HTML, no Markdown, no link, no image that a browser would fetch.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from html import escape
from threading import Timer
from typing import TYPE_CHECKING, Any

import duckdb
import marimo as mo
import pandas as pd

from sip_trunks.core.errors import SipTrunksError, UsageError
from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.reporting.charts import fluid_specs, picture_spec
from sip_trunks.reporting.formats import number_twins
from sip_trunks.reporting.inputs import read_options
from sip_trunks.reporting.summaries import readable
from sip_trunks.warehouse import frames
from sip_trunks.warehouse.read_only import refuse_all_but_queries
from sip_trunks.warehouse.sql import find_tables, read_columns
from trunk_transforms import schema
from trunk_transforms.reports.inputs import ReportInputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_ROWS = 10_000
"""How much of an answer to a query is shown."""

UNREADABLE = ("row_version", "_dlt_load_id", "_dlt_id")
"""The columns that only machines read."""

_PATIENCE_SECONDS = 30
_PAGE_ROWS = 10
_STATIC_ROWS = 15
_LONGEST_CELL = 300
_WRAPPED_FROM = 48
_MEASURED_ROWS = 1000
# What marimo's tables make a link or an image of.
_LINK = re.compile("://|^(?=data:)", re.IGNORECASE)
_WORD_JOINER = "\u2060"


@dataclass(frozen=True)
class Stored:
    """Everything that is stored, as the reports need it: the trunks with all columns and the whole history."""

    place: str
    inputs: ReportInputs

    @property
    def tables(self) -> Mapping[str, pd.DataFrame]:
        """The frames: `trunks`, `versions`, `observations`, `drift` and others."""
        return self.inputs.tables


def read_stored() -> Stored:
    """Return what is stored where the settings say. Raises SipTrunksError with one sentence if nothing can be read there."""
    settings = read_settings()
    destination = open_destination(settings)
    if not destination.exists():
        raise UsageError(
            f"nothing is stored yet at {destination.location}. `make demo` stores an account to look at; "
            "docs/getting-started.md says how to store your own"
        )
    options = read_options(settings)
    with destination.reading() as connection:
        history = frames.read_history(connection)
        observations = frames.read_observations(connection, options.as_of)
        first_at = history["account"].map(observations.groupby("account")["snapshot_at"].min())
        tables = {
            "trunks": frames.read_trunks(connection, list(read_columns(connection, schema.SIP_TRUNKS.name))),
            "versions": history,
            # As `frames.read_lifetimes` has them, but with the columns that are filtered by.
            "lifetimes": history.assign(valid_from=history["valid_from"].clip(lower=first_at)),
            "observations": observations,
            "drift": frames.read_delivered(connection, options.as_of),
        }
        log = frames.read_findings(connection)
    return Stored(destination.location, ReportInputs(tables if log is None else tables | {"log": log}, options))


def ask(query: str) -> pd.DataFrame | str:
    """Return the answer to a query on what is stored, at most `MOST_ROWS` rows of it; else one sentence on why not."""
    try:
        return _answer(query)
    except SipTrunksError as failure:
        return f"That cannot be answered: {failure}"


def _answer(query: str) -> pd.DataFrame:
    with open_destination(read_settings()).reading(find_tables(query)) as connection:
        last_resort = Timer(_PATIENCE_SECONDS, connection.interrupt)
        last_resort.start()
        try:
            refuse_all_but_queries(connection, query)
            result = connection.execute(query)
            names = [readable(column[0]) for column in result.description or ()]
            rows = result.fetchmany(MOST_ROWS)
        except duckdb.InterruptException:
            raise UsageError(f"it took longer than {_PATIENCE_SECONDS} seconds; ask for less") from None
        except duckdb.Error as error:
            # Where in the query it is follows on lines of its own.
            raise UsageError(str(error).strip().partition("\n")[0]) from None
        finally:
            last_resort.cancel()
    return pd.DataFrame(rows, columns=number_twins(names), dtype=object).map(_as_scalar).convert_dtypes()


def _as_scalar(value: Any) -> Any:
    """Return what a table has one cell for; what is nested, as JSON."""
    return json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, list | dict | tuple) else value


# ---------------------------------------------------------------------- how it is shown


def notice(text: str, kind: str = "empty") -> mo.Html:
    """Return a sentence in place of what cannot be shown; `kind` is `empty`, `warning` or `error`."""
    if kind == "warning" and mo.app_meta().mode == "script":
        print(text)
    told = re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))
    return mo.Html(f'<p class="st-notice st-{kind}">{told}</p>')


def figures(*cards: tuple[str, object, str]) -> mo.Html:
    """Return numbers that are worth a card: what is counted, how many there are, what there is to say about it."""
    told = [[escape(part) for part in (title, _figure(value), readable(detail, 90))] for title, value, detail in cards]
    made = [f"<div><span>{title}</span> <b>{value}</b> <small>{detail}</small></div>" for title, value, detail in told]
    return mo.Html(f'<div class="st-figures">{"".join(made)}</div>')


def _figure(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else readable(value)


def controls(**elements: Any) -> Any:
    """Return controls side by side; outside marimo, where they cannot be moved, what each is set to."""
    if mo.running_in_notebook():
        alone, *others = elements.values()
        return mo.hstack([alone, *others], justify="start", gap=1.25, wrap=True) if others else alone
    told = [f"{name.replace('_', ' ')}: {_setting(element)}" for name, element in elements.items() if _is_set(element)]
    return mo.Html(f"<p>{escape(' · '.join(told))}</p>") if told else None


def table(frame: pd.DataFrame, empty: str = "Nothing to show.", first: Sequence[str] = ()) -> Any:
    """Return a frame as a table to search, sort and page through; in its place a sentence if it has no rows.

    The columns `first` come first. Outside marimo it is the frame, with its first rows.
    """
    if frame.empty:
        return notice(empty)
    shown = _tidy(frame, first)
    if not mo.running_in_notebook():
        return shown.head(_STATIC_ROWS).astype(object).map(readable)
    texts = [name for name in shown.columns if not _is_number(shown[name])]
    lengths = {name: int(shown[name].head(_MEASURED_ROWS).astype("str").fillna("").str.len().max()) for name in texts}
    widths = {name: min(length * 5, 380) for name, length in lengths.items() if length > _WRAPPED_FROM}
    return mo.ui.table(
        shown,
        selection=None,
        page_size=_PAGE_ROWS,
        show_data_types=False,
        show_column_summaries=False,
        format_mapping={name: _plain for name in shown.columns if name in texts or _is_key(name)},
        wrapped_columns=list(widths),
        column_widths=widths,
    )


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def _is_key(name: str) -> bool:
    """Whether a number is one to know something by, not to count with: it has no thousands."""
    return name in ("calling_code", "id") or name.endswith("_id")


def chart(name: str, frame: pd.DataFrame, empty: str = "Nothing to draw.") -> Any:
    """Return the picture of a report; in its place a sentence if there is nothing to see."""
    import altair as alt

    if frame.empty:
        return notice(empty)
    if not mo.running_in_notebook():
        # As a picture, Altair's other ways fetch what draws it from the web.
        alt.renderers.enable("png", scale_factor=1)
        return alt.Chart.from_dict(picture_spec(name, frame))
    # The menu would offer to send the data to an editor on the web.
    alt.renderers.set_embed_options(actions=False, renderer="svg")
    return mo.vstack([alt.Chart.from_dict(spec) for spec in fluid_specs(name, frame)], gap=0)


def _tidy(frame: pd.DataFrame, first: Sequence[str]) -> pd.DataFrame:
    """Return a frame with moments to the second, and without what only machines read."""
    named = list(dict.fromkeys([*first, *frame.columns]))
    kept = frame[[name for name in named if name in frame and name not in UNREADABLE]]
    moments = kept.select_dtypes("datetimetz").columns
    return kept.assign(**{name: kept[name].dt.strftime("%Y-%m-%d %H:%M:%S").astype("str") for name in moments})


def _plain(value: Any) -> Any:
    """Return a value as text that is nothing but text."""
    return _LINK.sub(
        lambda found: _WORD_JOINER.join(found[0]) if found[0] else _WORD_JOINER, readable(value, _LONGEST_CELL)
    )


def _is_set(element: Any) -> bool:
    return element.value is not None


def _setting(element: Any) -> str:
    """Return what a control is set to: of a list, everything where nothing is chosen."""
    value = getattr(element, "selected_key", element.value)
    return readable(value) if not isinstance(value, list) else ", ".join(map(readable, value)) or "all"
