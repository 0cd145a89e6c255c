# /// script
# [tool.marimo.display]
# theme = "system"
# ///
"""What is stored of the trunks, to explore: `sip-trunks notebook` opens it, `python notebooks/explore.py` runs it."""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="SIP trunks", css_file="explore.css")

with app.setup(hide_code=True):
    import marimo as mo

    from sip_trunks.core.errors import SipTrunksError
    from sip_trunks.reporting.notebook import UNREADABLE, ask, chart, controls, figures, notice, read_stored, table
    from sip_trunks.reporting.summaries import count_of
    from trunk_transforms.history.growth import PERIODS, derive_growth
    from trunk_transforms.history.timeline import (
        count_versions,
        derive_timeline,
        list_all_changes,
        list_moments,
        state_at,
    )
    from trunk_transforms.reports.filters import Selection, list_choices, select
    from trunk_transforms.schema.reports import BY_FORMAT_AND_COUNTRY, SEVERITIES


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    # SIP trunks

    What is there, what changed, what is wrong, and whatever else you ask. This reads what the last run has published,
    and changes nothing.
    """)
    return


@app.cell
def _():
    try:
        stored = read_stored()
    except SipTrunksError as _failure:
        mo.stop(predicate=True, output=notice(f"There is nothing to explore: {_failure}.", "warning"))
    _choices = list_choices(stored.inputs)
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
    inputs = select(stored.inputs, selection)
    trunks, versions, observations = inputs.trunks, inputs.tables["versions"], inputs.tables["observations"]
    findings = inputs.findings
    changes = list_all_changes(inputs.tables, inputs.options.as_of)
    moments = list_moments(observations)
    return inputs, changes, findings, moments, selection, trunks, versions


@app.cell(hide_code=True)
def _(changes, findings, moments, trunks):
    severe = findings["severity"].isin(["critical", "high"]).sum()
    day, time = (f"{moments[-1]:%d %b}", f"{moments[-1]:%Y, %H:%M:%S} UTC") if moments else ("–", "nobody has looked")
    figures(
        ("trunks", len(trunks), f"in {count_of(trunks['account'].nunique(), 'account')}"),
        ("countries", trunks["country_code"].nunique(), count_of(trunks["provider"].nunique(), "provider")),
        ("changes", len(changes), f"in {count_of(len(moments), 'snapshot')}"),
        ("findings", len(findings), f"{severe} critical or high"),
        ("data as of", day, time),
    )
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## What is there

    Trunks by country and calling format; the stronger the colour, the more there are.
    """)
    return


@app.cell
def _(inputs):
    chart("counts", inputs.count(BY_FORMAT_AND_COUNTRY), "No trunks are stored that match.")
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Count them by whatever you like, one column or several:
    """)
    return


@app.cell
def _(stored):
    _columns = sorted(set(stored.inputs.trunks.columns) - set(UNREADABLE))
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
    Every trunk, with what follows from its columns:
    """)
    return


@app.cell
def _(trunks):
    telling = ("id", "phone_number", "number_kind", "sip_address", "provider", "country_code", "sip_calling_format")
    table(trunks, "No trunks match.", telling)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## What changed

    Every run is a snapshot. Move back through them to see what was known then.
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
        ("trunks", len(state), "known then"),
        ("changes", len(shown_by_it), "since the snapshot before"),
    )
    return


@app.cell
def _(state):
    table(state, "No trunks then.", ("id", "phone_number", "sip_address", "country_code", "sip_calling_format"))
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    How many there were, and how many were created and vanished:
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
    chart("growth", growth, "Nobody has looked yet.")
    return (growth,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    Every change, the latest first; `legs` are what the platform re-created for it:
    """)
    return


@app.cell
def _(changes):
    telling_changes = ("observed_at", "trunk_id", "change", "field", "old", "new", "legs", "note")
    table(changes, "No changes so far: they show from the second snapshot on.", telling_changes)
    return


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    The life of one trunk, those that changed most first:
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
    life = derive_timeline(versions, changes, *trunk.value) if trunk.value else versions.head(0)
    table(life, "No trunk is picked.")
    return (life,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## What is wrong

    What the rules find, the worst first, and how to mend it.
    """)
    return


@app.cell
def _(findings):
    chart("audit", findings, "No findings: nothing is misconfigured as far as the rules see.")
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
    wrong = findings[findings["severity"].isin(severity.value or SEVERITIES)]
    table(wrong, "No findings of this severity.", ("severity", "rule", "trunk_id", "seen", "fix"))
    return (wrong,)


@app.cell(hide_code=True)
def _():
    mo.md(r"""
    ## Ask your own

    SQL on all that is stored, whatever is filtered above: `sip_trunks` as they are, `sip_trunks_history` with every
    version, `sip_trunk_changes`, `findings`, …; `sip-trunks describe` tells what is in them.
    """)
    return


@app.cell
def _():
    example = """SELECT country_code, sip_calling_format, count(*) AS trunks
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
    answer = ask(query.value or example)
    notice(answer, "error") if isinstance(answer, str) else table(answer, "No rows.")
    return (answer,)


if __name__ == "__main__":
    app.run()
