"""What is stored → the part of it that somebody looks at: by account, country and provider."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pandas as pd

from trunk_transforms.enrich.countries import derive_country_name
from trunk_transforms.enrich.providers import derive_provider
from trunk_transforms.reports.counts import count_trunks
from trunk_transforms.reports.inputs import ReportInputs

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from trunk_transforms.enrich.providers import Providers

MISSING = "–"
"""What stands for a value that is not there, in a list to choose from."""

_KEY = ["account", "id"]


@dataclass(frozen=True)
class Selection:
    """Which trunks are looked at: those of these accounts, countries and providers; all where none is named."""

    accounts: Sequence[str] = ()
    countries: Sequence[str] = ()
    providers: Sequence[str] = ()

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return not (self.accounts or self.countries or self.providers)

    def matches(self, rows: pd.DataFrame, providers: Providers) -> pd.Series:
        """Whether each row is of the selection. Needs `account`, `country_code` and `sip_address`."""
        is_wanted = pd.Series(data=True, index=rows.index)
        if self.accounts:
            is_wanted &= rows["account"].isin(self.accounts)
        if self.countries:
            is_wanted &= rows["country_code"].astype("str").fillna(MISSING).isin(self.countries)
        if self.providers:
            named = derive_provider(rows[["sip_address"]], providers)["provider"]
            is_wanted &= named.fillna(MISSING).isin(self.providers)
        return is_wanted


def select(inputs: ReportInputs, selection: Selection) -> ReportInputs:
    """Return the inputs of the trunks that are selected.

    Of the trunks as they are, those that are of the selection now; of their history, all versions of every trunk that
    was of it in any version: a trunk that moved to another country is in the history of both. Looks and drift are the
    selected accounts', whatever the country or provider.
    """
    if selection.is_everything:
        return inputs
    tables, providers = dict(inputs.tables), inputs.options.providers
    tables["trunks"] = tables["trunks"].loc[selection.matches(tables["trunks"], providers)]
    for name in ("versions", "lifetimes"):
        rows = tables[name]
        ever = pd.MultiIndex.from_frame(rows.loc[selection.matches(rows, providers), _KEY])
        tables[name] = rows.loc[pd.MultiIndex.from_frame(rows[_KEY]).isin(ever)]
    if selection.accounts:
        for name in ("observations", "drift"):
            tables[name] = tables[name].loc[tables[name]["account"].isin(selection.accounts)]
    wanted = [name for name in inputs.options.accounts if not selection.accounts or name in selection.accounts]
    return ReportInputs(tables, replace(inputs.options, accounts=wanted))


def list_choices(inputs: ReportInputs) -> dict[str, dict[str, str]]:
    """Return what can be selected, the most frequent first: by `account`, `country` and `provider`, label to value.

    Countries and providers are those of any version, also of trunks that are gone; accounts, also those without trunks.
    """
    versions = derive_provider(
        inputs.tables["versions"][["account", "country_code", "sip_address"]], inputs.options.providers
    )
    countries = derive_country_name(count_trunks(versions, ["country_code"]))
    accounts = sorted({*inputs.tables["observations"]["account"], *versions["account"]})
    return {
        "account": {name: name for name in accounts},
        "country": {_label(row): _text(row["country_code"]) for row in countries.to_dict("records")},
        "provider": {_text(name): _text(name) for name in count_trunks(versions, ["provider"])["provider"]},
    }


def _label(row: Mapping[Hashable, Any]) -> str:
    code, name = _text(row["country_code"]), _text(row["country_name"])
    return code if name == MISSING else f"{name} ({code})"


def _text(value: Any) -> str:
    return MISSING if pd.isna(value) else str(value)
