# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""Explore the stored trunks. `sip-trunks notebook` opens this notebook, `python notebooks/explore.py` runs it."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="SIP trunks", css_file="explore.css")

with app.setup(hide_code=True):
    import marimo as mo

    from sip_trunks.core.errors import SipTrunksError
    from sip_trunks.reporting.notebook import UNREADABLE, ask, chart, controls, figures, notice, read_stored, table
    from sip_trunks.reporting.summaries import count_of
    from trunk_transforms.history.growth import PERIODS, derive_growth
    from trunk_transforms.history.timeline import count_versions, derive_timeline, list_moments, state_at
    from trunk_transforms.reports.filters import Selection, list_choices, select
    from trunk_transforms.schema.reports import BY_FORMAT_AND_COUNTRY, SEVERITIES


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # SIP trunks

    Current trunks, changes, findings, and your own queries. The notebook reads the data that the last run published,
    and never changes it.
    """)
    return


@app.cell
def _():
    try:
        stored = read_stored()
    except SipTrunksError as _failure:
        mo.stop(predicate=True, output=notice(f"No data to explore: {_failure}.", "warning"))
    _choices = list_choices(stored)
    account = mo.ui.multiselect(_choices["account"], label="account")
    country = mo.ui.multiselect(_choices["country"], label="country")
    provider = mo.ui.multiselect(_choices["provider"], label="provider")
    return account, country, provider, stored


@app.cell(hide_code=True)
def _(account, country, provider):
    controls(account=account, country=country, provider=provider)
    return


@app.cell
def _(account, country, provider, stored):
    selection = Selection(account.value, country.value, provider.value)
    inputs = select(stored, selection)
    trunks, versions, observations = inputs.trunks, inputs.tables["versions"], inputs.tables["observations"]
    findings = inputs.findings
    changes = inputs.changes
    moments = list_moments(observations)
    return inputs, changes, findings, moments, selection, trunks, versions


@app.cell(hide_code=True)
def _(changes, findings, moments, trunks):
    severe = findings["severity"].isin(["critical", "high"]).sum()
    day, time = (f"{moments[-1]:%d %b}", f"{moments[-1]:%Y, %H:%M:%S} UTC") if moments else ("–", "no observations yet")
    figures(
        ("trunks", len(trunks), f"in {count_of(trunks['account'].nunique(), 'account')}"),
        ("countries", trunks["country_name"].nunique(), count_of(trunks["provider"].nunique(), "provider")),
        ("changes", len(changes), f"in {count_of(len(moments), 'snapshot')}"),
        ("findings", len(findings), f"{severe} critical or high"),
        ("data as of", day, time),
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Current trunks

    Trunks by country and calling format. A stronger colour means more trunks.
    """)
    return


@app.cell
def _(inputs):
    chart("counts", inputs.count(BY_FORMAT_AND_COUNTRY), "No trunks match.")
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Count the trunks by one or more columns:
    """)
    return


@app.cell
def _(stored):
    _columns = sorted(set(stored.trunks.columns) - set(UNREADABLE))
    by = mo.ui.multiselect(_columns, ["provider"], label="count by")
    return (by,)


@app.cell(hide_code=True)
def _(by):
    controls(count_by=by)
    return


@app.cell
def _(inputs, by):
    counts = inputs.count(by.value or ["account"])
    chart("counts", counts, "No trunks match.")
    return (counts,)


@app.cell
def _(counts):
    table(counts, "")
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    All trunks, with derived columns:
    """)
    return


@app.cell
def _(trunks):
    shown = (
        "id",
        "phone_number",
        "nickname",
        "number_kind",
        "sip_address",
        "provider",
        "country_code",
        "sip_calling_format",
    )
    table(trunks, "No trunks match.", shown)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Changes

    Each run stores a snapshot. Move the slider to see the trunks of an earlier snapshot.
    """)
    return


@app.cell
def _(moments):
    _last = max(len(moments), 1)
    step = mo.ui.slider(1, _last + (_last == 1), value=_last, label="snapshot", disabled=_last == 1)
    return (step,)


@app.cell(hide_code=True)
def _(step):
    controls(snapshot=step)
    return


@app.cell
def _(inputs, changes, moments, selection, step, versions):
    moment = moments[min(step.value, len(moments)) - 1] if moments else inputs.options.as_of
    known = state_at(versions, moment)
    state = known[selection.matches(known, inputs.options.providers)]
    shown_by_it = changes[changes["observed_at"] == moment]
    return moment, shown_by_it, state


@app.cell(hide_code=True)
def _(moment, moments, shown_by_it, state, step):
    figures(
        ("snapshot", f"{min(step.value, len(moments))} of {len(moments)}", f"{moment:%d %b %Y, %H:%M:%S} UTC"),
        ("trunks", len(state), "known at that time"),
        ("changes", len(shown_by_it), "since the previous snapshot"),
    )
    return


@app.cell
def _(state):
    table(
        state,
        "No trunks at that time.",
        ("id", "phone_number", "nickname", "sip_address", "country_code", "sip_calling_format"),
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    The number of trunks, and how many were created and removed, by period:
    """)
    return


@app.cell
def _():
    period = mo.ui.dropdown(PERIODS, "month", label="by")
    return (period,)


@app.cell(hide_code=True)
def _(period):
    controls(by=period)
    return


@app.cell
def _(inputs, period, versions):
    growth = derive_growth(versions, inputs.tables["observations"], as_of=inputs.options.as_of, period=period.value)
    chart("growth", growth, "No observations yet.")
    return (growth,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    All changes, latest first. `legs` are the legs that the platform re-created because of the change:
    """)
    return


@app.cell
def _(changes):
    shown_changes = ("observed_at", "trunk_id", "change", "field", "old", "new", "legs", "note")
    table(changes, "No changes yet. Changes appear after the second snapshot.", shown_changes)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Timeline of one trunk (most changed first):
    """)
    return


@app.cell
def _(versions):
    most_changed = count_versions(versions).head(1000)
    keys = most_changed[["account", "id", "phone_number"]].itertuples(index=False, name=None)
    labels = {f"{key} · {number} · {owner}": (owner, key) for owner, key, number in keys}
    trunk = mo.ui.dropdown(labels, next(iter(labels), None), label="trunk", searchable=True)
    return (trunk,)


@app.cell(hide_code=True)
def _(trunk):
    controls(trunk=trunk)
    return


@app.cell
def _(changes, trunk, versions):
    timeline = derive_timeline(versions, changes, *trunk.value) if trunk.value else versions.head(0)
    table(timeline, "No trunk is selected.")
    return (timeline,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Findings

    Findings of the audit, most severe first, each with a fix.
    """)
    return


@app.cell
def _(findings):
    chart("audit", findings, "No findings: the rules found no misconfiguration.")
    return


@app.cell
def _():
    severity = mo.ui.multiselect(SEVERITIES[::-1], label="severity")
    return (severity,)


@app.cell(hide_code=True)
def _(severity):
    controls(severity=severity)
    return


@app.cell
def _(findings, severity):
    listed = findings[findings["severity"].isin(severity.value or SEVERITIES)]
    table(listed, "No findings of this severity.", ("severity", "rule", "trunk_id", "nickname", "seen", "fix"))
    return (listed,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Your own queries

    SQL on all stored data; the filters above do not apply. Tables and views are `sip_trunks` (current trunks),
    `sip_trunks_history` (all versions), `sip_trunk_changes`, `findings` and others. `sip-trunks describe` lists them
    with their columns.
    """)
    return


@app.cell
def _():
    example = """SELECT country_name, sip_calling_format, count(*) AS trunks
FROM sip_trunks
GROUP BY ALL
ORDER BY trunks DESC"""
    editor = mo.ui.code_editor(example, language="sql", min_height=100)
    query = editor.form(submit_button_label="Run", bordered=False)
    return example, query


@app.cell(hide_code=True)
def _(query):
    controls(query=query)
    return


@app.cell
def _(example, query):
    rows = ask(query.value or example)
    notice(rows, "error") if isinstance(rows, str) else table(rows, "No rows.")
    return (rows,)


if __name__ == "__main__":
    app.run()
