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

    from sip_trunks.reporting.notebook import (
        UNREADABLE,
        ask,
        chart,
        clicked,
        conclude,
        controls,
        dropdown,
        figures,
        multiselect,
        notice,
        read_or_explain,
        show,
        slider,
        table,
    )
    from sip_trunks.reporting.summaries import (
        conclude_changes,
        conclude_counts,
        conclude_findings,
        conclude_growth,
    )
    from trunk_transforms.history.growth import derive_growth, is_within, list_fitting_periods
    from trunk_transforms.history.timeline import count_changed, count_versions, derive_timeline, list_moments, state_at
    from trunk_transforms.reports.counts import count_changes, count_providers
    from trunk_transforms.reports.filters import Selection, list_choices, narrow, select
    from trunk_transforms.schema.findings import SEVERITIES
    from trunk_transforms.schema.reports import BY_FORMAT_AND_COUNTRY
    from trunk_transforms.text import count_of


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # SIP trunks

    Current trunks, changes, findings, and your own queries. The notebook reads the data that the last run published,
    and never changes it. Click a part of a chart to filter the rest of its section, and again to undo that. The
    address of the page keeps all filters, so a view can be shared.
    """)
    return


@app.cell
def _():
    stored, _problem = read_or_explain()
    _choices = list_choices(stored)
    account = multiselect("account", _choices["account"])
    country = multiselect("country", _choices["country"])
    provider = multiselect("provider", _choices["provider"])
    notice(_problem, "warning") if _problem else None
    return account, country, provider, stored


@app.cell(hide_code=True)
def _(account, country, provider):
    controls(account=account, country=country, provider=provider)
    return


@app.cell
def _(account, country, provider, stored):
    selection = Selection(account.value, country.value, provider.value)
    inputs = select(stored, selection)
    trunks, changes, findings = inputs.trunks, inputs.changes, inputs.findings
    observations, as_of = inputs.tables["observations"], inputs.options.as_of
    # All versions of the selected trunks, and those of them that match the selection themselves.
    versions = inputs.tables["versions"]
    matching = versions[selection.matches(versions, inputs.options.providers)]
    moments = list_moments(observations)
    return as_of, changes, findings, inputs, matching, moments, observations, selection, trunks, versions


@app.cell(hide_code=True)
def _(changes, findings, moments, trunks, versions):
    _severe = findings["severity"].isin(["critical", "high"]).sum()
    _changed = count_changes(changes, count_changed(versions))
    _day, _time = (f"{moments[-1]:%d %b}", f"{moments[-1]:%Y, %H:%M:%S} UTC") if moments else ("–", "no snapshots yet")
    _fields = count_of(_changed["changed fields"], "changed field")
    figures(
        ("trunks", len(trunks), f"in {count_of(trunks['account'].nunique(), 'account')}"),
        ("countries", trunks["country_name"].nunique(), count_of(count_providers(trunks), "known provider")),
        ("changed trunks", _changed["changed trunks"], f"{_fields} in {count_of(len(moments), 'snapshot')}"),
        ("findings", len(findings), f"{_severe} critical or high"),
        ("data as of", _day, _time),
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Current trunks

    Trunks by country and calling format. A stronger color means more trunks.
    """)
    return


@app.cell
def _(inputs):
    conclude(conclude_counts(inputs.count(["country_code"])))
    return


@app.cell
def _(inputs):
    cells = inputs.count(BY_FORMAT_AND_COUNTRY)
    grid = chart("counts", cells, "No trunks match.", key="cell")
    show(grid)
    return cells, grid


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Count these trunks by one or more columns:
    """)
    return


@app.cell
def _(stored):
    _columns = sorted(set(stored.trunks.columns) - set(UNREADABLE))
    count_by = multiselect("count by", _columns, ["provider"])
    return (count_by,)


@app.cell(hide_code=True)
def _(count_by):
    controls(count_by=count_by)
    return


@app.cell
def _(cells, count_by, grid, inputs):
    by = count_by.value or ["account"]
    in_cells = narrow(inputs, clicked(grid, "counts", cells), BY_FORMAT_AND_COUNTRY)
    counts = in_cells.count(by)
    conclude(conclude_counts(counts))
    return by, counts, in_cells


@app.cell
def _(counts):
    bars = chart("counts", counts, "No trunks match.", key="bar")
    show(bars)
    return (bars,)


@app.cell
def _(counts):
    table(counts, "")
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    These trunks, with derived columns:
    """)
    return


@app.cell
def _(bars, by, counts, in_cells):
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
    listed_trunks = narrow(in_cells, clicked(bars, "counts", counts), by).trunks
    table(listed_trunks, "No trunks match.", shown)
    return (listed_trunks,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Growth and changes

    The number of trunks, and how many were created and vanished, by period:
    """)
    return


@app.cell
def _(as_of, matching, observations):
    conclude(conclude_growth(matching, observations, as_of))
    return


@app.cell
def _(moments):
    period = dropdown("period", list_fitting_periods(moments[0], moments[-1]) if moments else ["day"])
    return (period,)


@app.cell(hide_code=True)
def _(period):
    controls(period=period)
    return


@app.cell
def _(as_of, matching, moments, observations, period):
    # Periods before the first snapshot have no number of trunks.
    _since = {"as_of": moments[-1], "since": moments[0]} if moments else {"as_of": as_of}
    growth = derive_growth(matching, observations, period=period.value, **_since)
    _drawn = growth if growth["period"].nunique() > 1 else growth.head(0)
    periods = chart("growth", _drawn, f"All snapshots are of the same {period.value}.", key="from")
    show(periods)
    return growth, periods


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Changes, latest first. `legs` are the legs that the platform re-created because of the change:
    """)
    return


@app.cell
def _(as_of, changes, versions):
    conclude(conclude_changes(changes, versions, as_of))
    return


@app.cell
def _(changes, growth, period, periods):
    shown_changes = ("observed_at", "trunk_id", "change", "field", "old", "new", "legs", "note")
    _starts = clicked(periods, "growth", growth)["period"]
    _listed = changes[is_within(changes["observed_at"], _starts, period.value)]
    table(_listed if len(_starts) < len(growth) else changes, "No changes.", shown_changes)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Move the slider to see the trunks of an earlier snapshot:
    """)
    return


@app.cell
def _(moments):
    step = slider("snapshot", moments)
    return (step,)


@app.cell(hide_code=True)
def _(step):
    controls(snapshot=step)
    return


@app.cell
def _(as_of, changes, inputs, moments, selection, step, versions):
    moment = moments[min(step.value, len(moments)) - 1] if moments else as_of
    known = state_at(versions, moment)
    state = known[selection.matches(known, inputs.options.providers)]
    shown_by_it = changes[changes["observed_at"] == moment]
    changed_by_it = count_changed(versions[versions["valid_from"].eq(moment) | versions["valid_to"].eq(moment)])
    return changed_by_it, moment, shown_by_it, state


@app.cell(hide_code=True)
def _(changed_by_it, moment, moments, shown_by_it, state, step):
    _changed = count_changes(shown_by_it, changed_by_it)
    figures(
        ("snapshot", f"{min(step.value, len(moments))} of {len(moments)}", f"{moment:%d %b %Y, %H:%M:%S} UTC"),
        ("trunks", len(state), "known at that time"),
        ("added trunks", _changed["added trunks"], count_of(_changed["removed trunks"], "removed trunk")),
        ("changed trunks", _changed["changed trunks"], count_of(_changed["changed fields"], "changed field")),
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
    Timeline of one trunk (most changed first):
    """)
    return


@app.cell
def _(versions):
    _most_changed = count_versions(versions).head(1000)
    _keys = _most_changed[["account", "id", "phone_number"]].itertuples(index=False, name=None)
    trunk = dropdown("trunk", {f"{_id} · {number} · {owner}": (owner, _id) for owner, _id, number in _keys})
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
    conclude(conclude_findings(findings))
    return


@app.cell
def _(findings):
    rules = chart("audit", findings, "No findings: the rules found no misconfiguration.", key="rule")
    show(rules)
    return (rules,)


@app.cell
def _():
    severity = multiselect("severity", SEVERITIES[::-1])
    return (severity,)


@app.cell(hide_code=True)
def _(severity):
    controls(severity=severity)
    return


@app.cell
def _(findings, rules, severity):
    listed = clicked(rules, "audit", findings)
    listed = listed[listed["severity"].isin(severity.value or SEVERITIES)]
    table(listed, "No findings of this severity.", ("severity", "rule", "trunk_id", "nickname", "seen", "fix"))
    return (listed,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Trunks that no active inbound assistant answers, those that are unanswered the longest first:
    """)
    return


@app.cell
def _(inputs):
    table(inputs.unanswered, "No trunk is known to be unanswered.", ("trunk_id", "nickname", "reason", "assistants"))
    return


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
