"""Report inputs → the inputs of some accounts, countries and providers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from trunk_transforms.enrich.countries import canonical_country, derive_country_name, unify_countries
from trunk_transforms.enrich.providers import Providers, derive_provider
from trunk_transforms.reports.counts import count_trunks
from trunk_transforms.reports.inputs import ReportInputs
from trunk_transforms.schema.arguments import require_columns

MISSING = "–"
"""The label of a missing value in a list of choices."""


@dataclass(frozen=True)
class Selection:
    """A selection of trunks by account, country and provider; an empty sequence selects all."""

    accounts: Sequence[str] = ()
    countries: Sequence[str] = ()
    providers: Sequence[str] = ()

    def matches(self, rows: pd.DataFrame, providers: Providers) -> pd.Series:
        """Return a flag per row: it is selected. Needs `account`, `country_code` and `sip_address`."""
        require_columns(rows, ("account", "country_code", "sip_address"), "rows")
        is_wanted = pd.Series(data=True, index=rows.index)
        if self.accounts:
            is_wanted &= rows["account"].isin(self.accounts)
        if self.countries:
            codes = unify_countries(rows[["country_code"]])["country_code"].astype("str").fillna(MISSING)
            is_wanted &= codes.isin([canonical_country(code) or code for code in self.countries])
        if self.providers:
            named = derive_provider(rows[["sip_address"]], providers)["provider"]
            is_wanted &= named.fillna(MISSING).isin(self.providers)
        return is_wanted


def select(inputs: ReportInputs, selection: Selection) -> ReportInputs:
    """Return the inputs of the selected trunks.

    Current trunks are selected by their current values. Versions are selected by trunk: if any version matches, all
    versions and changes of the trunk are kept, so a trunk that moved to another country is in the history of both
    countries. Observations are selected by account only.
    """
    if not (selection.accounts or selection.countries or selection.providers):
        return inputs
    tables, providers = dict(inputs.tables), inputs.options.providers
    tables["trunks"] = tables["trunks"].loc[selection.matches(tables["trunks"], providers)]
    versions = tables["versions"]
    ever = pd.MultiIndex.from_frame(versions.loc[selection.matches(versions, providers), ["account", "id"]])
    for name in tables.keys() & {"versions", "lifetimes", "changes", "changed_trunks"}:
        trunk_id = "trunk_id" if name.startswith("change") else "id"
        is_wanted = pd.MultiIndex.from_frame(tables[name][["account", trunk_id]]).isin(ever)
        tables[name] = tables[name].loc[is_wanted]
    if selection.accounts:
        observations = tables["observations"]
        tables["observations"] = observations.loc[observations["account"].isin(selection.accounts)]
    wanted = [name for name in inputs.options.accounts if not selection.accounts or name in selection.accounts]
    return ReportInputs(tables, replace(inputs.options, accounts=wanted))


def narrow(inputs: ReportInputs, counts: pd.DataFrame, by: Sequence[str]) -> ReportInputs:
    """Return the inputs with only the current trunks that these rows of a count by the columns `by` count."""
    trunks = inputs.trunks[list(by)]
    trunks = unify_countries(trunks) if "country_code" in by else trunks
    keys = trunks.assign(**{"~": range(len(inputs.trunks))})
    places = keys.merge(counts[list(by)], on=list(by))["~"].sort_values()
    return ReportInputs({**inputs.tables, "trunks": inputs.tables["trunks"].iloc[places]}, inputs.options)


def list_choices(inputs: ReportInputs) -> dict[str, dict[str, str]]:
    """Return the possible selections: for `account`, `country` and `provider`, labels to values.

    Countries and providers are those of all versions, including removed trunks, the most frequent first. Accounts
    without trunks are included.
    """
    versions = inputs.tables["versions"][["account", "country_code", "sip_address"]]
    versions = derive_provider(versions, inputs.options.providers)
    countries = derive_country_name(count_trunks(versions, ["country_code"]))
    accounts = sorted({*inputs.tables["observations"]["account"], *versions["account"]})
    return {
        "account": {name: name for name in accounts},
        "country": {
            code if name == MISSING else f"{name} ({code})": code
            for code, name in countries[["country_code", "country_name"]].map(_text).itertuples(index=False)
        },
        "provider": {_text(name): _text(name) for name in count_trunks(versions, ["provider"])["provider"]},
    }


def _text(value: Any) -> str:
    return MISSING if pd.isna(value) else str(value)
