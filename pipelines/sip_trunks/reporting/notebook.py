"""Functions of the notebook: read the stored data, run queries, and show frames, figures and charts.

Output has interactive controls in marimo and none in Jupyter or plain Python. Text from the API is always shown as
text: never as HTML, Markdown, a link or an image that a browser would fetch.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from html import escape
from threading import Timer
from typing import Any

import duckdb
import marimo as mo
import pandas as pd

from sip_trunks.core.errors import SipTrunksError, UsageError, first_line
from sip_trunks.core.settings import read_settings
from sip_trunks.destinations import open_destination
from sip_trunks.reporting.charts import CLICKED, fluid_specs, label_marks, picture_spec
from sip_trunks.reporting.formats import number_twins
from sip_trunks.reporting.inputs import read_options
from sip_trunks.reporting.summaries import readable
from sip_trunks.warehouse import frames
from sip_trunks.warehouse.read_only import refuse_all_but_queries
from sip_trunks.warehouse.sql import find_tables
from trunk_transforms import schema
from trunk_transforms.audit.past import credentials_since
from trunk_transforms.reports.inputs import Options, ReportInputs
from trunk_transforms.schema.reports import CHANGES

MOST_ROWS = 10_000
"""The highest number of rows of a query result that is shown."""

UNREADABLE = ("row_version", "_dlt_load_id", "_dlt_id")
"""Columns for programs, which tables leave out."""

_PATIENCE_SECONDS = 30
_PAGE_ROWS = 10
_STATIC_ROWS = 15
_SHORT_LIST = 8
_LONGEST_CELL = 300
_WRAPPED_FROM = 48
_MEASURED_ROWS = 1000
# marimo's tables render text with `://`, or with `data:` at its start, as a link or an image.
_LINK = re.compile("(?<=:)(?=//)|(?<=:/)(?=/)|^(?=data:)", re.IGNORECASE)
_WORD_JOINER = "\u2060"


def read_stored() -> ReportInputs:
    """Return all data stored in the configured destination: the trunks with all columns, and the whole history.

    Its `tables` have every version besides, as `versions`, and in `changes` every change since the first snapshot.
    Raises SipTrunksError, with a message of one sentence, if there is none or it cannot be read.
    """
    settings = read_settings()
    destination = open_destination(settings)
    if not destination.exists():
        raise UsageError(
            f"nothing is stored yet at {destination.location}. `make demo` stores a demo account; "
            "docs/getting-started.md shows how to store your own"
        )
    options = read_options(settings)
    with destination.reading() as connection:
        history = frames.read_history(connection)
        observations = frames.read_observations(connection, options.as_of)
        first_at = history["account"].map(observations.groupby("account")["snapshot_at"].min())
        changes = frames.read_changes(connection, None, options.as_of, is_log=True)
        tables = {
            "trunks": frames.read_trunks(connection),
            "versions": history,
            # Unlike `frames.read_lifetimes`, these keep the columns of the filters.
            "lifetimes": history.assign(valid_from=history["valid_from"].clip(lower=first_at)),
            "observations": observations,
            "assignments": frames.read_assignments(connection, options.as_of),
            "changes": changes,
            # The rules need the past of all accounts and trunks, so filters leave these alone.
            "recent_versions": history,
            "recent_changes": changes,
            "credentials": frames.read_credentials(connection, credentials_since(options.as_of), options.as_of),
            "changed_trunks": frames.read_changed_trunks(connection, None, options.as_of, is_log=True),
        }
        lives = frames.read_findings(connection)
    return ReportInputs(tables if lives is None else tables | {"findings_history": lives}, options)


def read_or_explain() -> tuple[ReportInputs, str]:
    """Return the result of `read_stored` and an empty text; if it fails, tables without rows, and why in a sentence."""
    try:
        return read_stored(), ""
    except SipTrunksError as error:
        tables = {"trunks": schema.SIP_TRUNKS, "versions": schema.SIP_TRUNKS_HISTORY, "changes": CHANGES}
        tables |= {"lifetimes": schema.SIP_TRUNKS_HISTORY, "observations": schema.SIP_TRUNK_SNAPSHOTS}
        empty = {name: frames.as_frame(table.full_arrow_schema().empty_table()) for name, table in tables.items()}
        return ReportInputs(empty, Options(datetime.now(UTC))), f"No data to explore: {error}."


def ask(query: str) -> pd.DataFrame | str:
    """Return the result of a query on the stored data, at most `MOST_ROWS` rows; if it fails, one sentence."""
    try:
        return _run_query(query)
    except SipTrunksError as error:
        return f"The query failed: {error}"


def _run_query(query: str) -> pd.DataFrame:
    with open_destination(read_settings()).reading(find_tables(query)) as connection:
        last_resort = Timer(_PATIENCE_SECONDS, connection.interrupt)
        last_resort.start()
        try:
            refuse_all_but_queries(connection, query)
            result = connection.execute(query)
            names = [readable(column[0]) for column in result.description or ()]
            rows = result.fetchmany(MOST_ROWS)
        except duckdb.InterruptException:
            raise UsageError(f"it took longer than {_PATIENCE_SECONDS} seconds; limit what it reads") from None
        except duckdb.Error as error:
            raise UsageError(first_line(error)) from None
        finally:
            last_resort.cancel()
    return pd.DataFrame(rows, columns=number_twins(names), dtype=object).map(_as_scalar).convert_dtypes()


def _as_scalar(value: Any) -> Any:
    """Return the value of one cell; a nested value as JSON."""
    return json.dumps(value, default=str, ensure_ascii=False) if isinstance(value, list | dict | tuple) else value


# ---------------------------------------------------------------------- controls, whose values are in the URL


def multiselect(name: str, options: Mapping[str, str] | Sequence[str], value: Sequence[str] = ()) -> Any:
    """Return a control for several of the options; `value` has those that are selected if the URL names none."""
    named = _by_name(options)
    in_url = _read_url(name, named.values())
    selected = [label for label, option in named.items() if option in (in_url or value)]
    return mo.ui.multiselect(named, selected, label=name, on_change=partial(_write_url, name, list(value)))


def dropdown(name: str, options: Mapping[str, Any] | Sequence[str]) -> Any:
    """Return a control for one of the options: the one that the URL names, else the first."""
    named = _by_name(options)
    texts = {_text(option): label for label, option in named.items()}
    default = next(iter(texts), "")
    selected = texts.get(next(iter(_read_url(name, texts)), default))
    keep = lambda option: _write_url(name, [default], [_text(option)])  # noqa: E731
    return mo.ui.dropdown(named, selected, label=name, searchable=len(named) > _SHORT_LIST, on_change=keep)


def _text(option: Any) -> str:
    return " ".join(map(str, option)) if isinstance(option, tuple) else str(option)


def slider(name: str, moments: Sequence[datetime]) -> Any:
    """Return a slider over the positions of these times, from 1; it begins at the time in the URL, else at the last."""
    texts = [f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in moments]
    last = max(len(texts), 1)
    place = next((texts.index(text) + 1 for text in _read_url(name, texts)), last)
    keep = lambda step: _write_url(name, texts[-1:], texts[step - 1 : step])  # noqa: E731
    return mo.ui.slider(1, last + (last == 1), value=place, label=name, disabled=last == 1, on_change=keep)


def _by_name(options: Mapping[str, Any] | Sequence[str]) -> dict[str, Any]:
    return dict(options) if isinstance(options, Mapping) else {option: option for option in options}


def _read_url(name: str, options: Iterable[str]) -> list[str]:
    """Return the values of a control in the URL of the page; any others than its options are ignored."""
    in_url = mo.query_params().get_all(name) if mo.running_in_notebook() else []
    return [option for option in options if option in in_url]


def _write_url(name: str, default: Sequence[str], values: Sequence[str]) -> None:
    """Write the values of a control into the URL of the page, so that its view can be shared."""
    if mo.running_in_notebook():
        # No cell has these parameters, so none runs again.
        mo.query_params().set(name, [] if list(values) == list(default) else list(values))


# ---------------------------------------------------------------------- output


def notice(text: str, kind: str = "empty") -> mo.Html:
    """Return a sentence to show instead of data; `kind` is `empty`, `warning` or `error`."""
    if kind == "warning" and mo.app_meta().mode == "script":
        print(text)
    content = re.sub("`([^`]*)`", r"<code>\1</code>", escape(text))
    return mo.Html(f'<p class="st-notice st-{kind}">{content}</p>')


def conclude(text: str) -> mo.Html | None:
    """Return a sentence to show above a chart; nothing for an empty text."""
    return mo.Html(f'<p class="st-conclusion">{escape(text)}</p>') if text else None


def figures(*cards: tuple[str, object, str]) -> mo.Html:
    """Return cards, each with a title, a number and a detail."""
    made = ""
    for title, value, detail in cards:
        shown = f"{value:,}" if isinstance(value, int) else readable(value)
        cells = map(escape, (title, shown, readable(detail, 90)))
        made += "<div><span>{}</span> <b>{}</b> <small>{}</small></div>".format(*cells)
    return mo.Html(f'<div class="st-figures">{made}</div>')


def controls(**elements: Any) -> Any:
    """Return controls side by side; outside marimo, where they are not interactive, return their values."""
    if mo.running_in_notebook():
        alone, *others = elements.values()
        return mo.hstack([alone, *others], justify="start", gap=1.25, wrap=True) if others else alone
    shown = [(name.replace("_", " "), _setting(it)) for name, it in elements.items() if it.value is not None]
    texts = [f"{name}: {value}" for name, value in shown]
    return mo.Html(f"<p>{escape(' · '.join(texts))}</p>") if texts else None


def table(frame: pd.DataFrame, empty: str = "Nothing to show.", first: Sequence[str] = ()) -> Any:
    """Return a frame as a table to search, sort and page through, with the columns `first` at the left.

    Outside marimo, return a frame with its first rows. A frame without rows becomes the sentence `empty`.
    """
    if frame.empty:
        return notice(empty)
    shown = _tidy(frame, first)
    if not mo.running_in_notebook():
        return shown.head(_STATIC_ROWS).astype(object).map(readable)
    texts = [name for name in shown.columns if name not in shown.select_dtypes("number")]
    # Identifiers are shown without thousands separators.
    keys = [name for name in shown.columns if name in ("calling_code", "id") or name.endswith("_id")]
    lengths = {name: int(shown[name].head(_MEASURED_ROWS).astype("str").fillna("").str.len().max()) for name in texts}
    widths = {name: min(length * 5, 380) for name, length in lengths.items() if length > _WRAPPED_FROM}
    return mo.ui.table(
        shown,
        selection=None,
        page_size=_PAGE_ROWS,
        show_data_types=False,
        show_column_summaries=False,
        format_mapping=dict.fromkeys([*texts, *keys], _plain),
        wrapped_columns=list(widths),
        column_widths=widths,
    )


def chart(name: str, frame: pd.DataFrame, empty: str = "Nothing to draw.", *, key: str = "") -> Any:
    """Return the picture of a report; without rows, the sentence `empty`.

    In marimo, `clicked` has the rows of the marks that a visitor clicked, and `key` names them in the URL.
    """
    import altair as alt

    if frame.empty:
        return notice(empty)
    if not mo.running_in_notebook():
        # A PNG, because Altair's other renderers fetch their code from the web.
        alt.renderers.enable("png", scale_factor=1)
        return alt.Chart.from_dict(picture_spec(name, frame))
    # No menu, because it offers to send the data to an online editor.
    alt.renderers.set_embed_options(actions=False, renderer="svg")
    marks = label_marks(name, frame).drop_duplicates()
    names = list(marks.columns)
    texts = {" · ".join(mark): dict(zip(names, mark, strict=True)) for mark in marks.itertuples(index=False, name=None)}
    first = [texts[text] for text in _read_url(key, texts)]
    *others, spec = fluid_specs(name, frame, first)
    show = partial(mo.ui.altair_chart, chart_selection=False, legend_selection=False)

    def keep(_: object) -> None:
        element.first = []
        _write_url(key, [], [" · ".join(point[name] for name in names) for point in _points(element)])

    element = show(alt.Chart.from_dict(spec), on_change=keep)
    element.first = first
    element.above = [alt.Chart.from_dict(each) for each in others]
    return element


def show(element: Any) -> Any:
    """Return a chart with the ones that belong above it."""
    return mo.vstack([*element.above, element], gap=0) if isinstance(element, mo.ui.altair_chart) else element


def clicked(element: Any, name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a report whose marks were clicked in its chart; all rows if none was."""
    points = _points(element)
    if not points:
        return frame
    marks = label_marks(name, frame)
    wanted = pd.DataFrame(points)[list(marks.columns)]
    return frame[pd.MultiIndex.from_frame(marks).isin(pd.MultiIndex.from_frame(wanted))]


def _points(element: Any) -> list[dict[str, str]]:
    """Return the labels of the marks that are selected in a chart."""
    if not isinstance(element, mo.ui.altair_chart):
        return []
    selections: dict[str, Any] = element.selections
    points: list[dict[str, str]] = selections.get(CLICKED, {}).get("vlPoint", {}).get("or", [])
    return points or element.first


def _tidy(frame: pd.DataFrame, first: Sequence[str]) -> pd.DataFrame:
    """Return a frame with times to the second and without `UNREADABLE` columns."""
    named = list(dict.fromkeys([*first, *frame.columns]))
    kept = frame[[name for name in named if name in frame and name not in UNREADABLE]].reset_index(drop=True)
    moments = kept.select_dtypes("datetimetz").columns
    return kept.assign(**{name: kept[name].dt.strftime("%Y-%m-%d %H:%M:%S").astype("str") for name in moments})


def _plain(value: Any) -> Any:
    """Return a value as text that marimo does not render as a link or an image."""
    return _LINK.sub(_WORD_JOINER, readable(value, _LONGEST_CELL))


def _setting(element: Any) -> str:
    """Return the value of a control as text; an empty selection means all."""
    value = getattr(element, "selected_key", element.value)
    return readable(value) if not isinstance(value, list) else ", ".join(map(readable, value)) or "all"
