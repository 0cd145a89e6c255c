"""Rules on `sip_calling_format` that compare trunks at the same host."""

from __future__ import annotations

from collections import Counter, defaultdict

from trunk_transforms.audit.rules.context import AuditContext, Findings, Verdict
from trunk_transforms.audit.rules.rule import rule
from trunk_transforms.audit.rules.wording import quote
from trunk_transforms.enrich.providers import Provider
from trunk_transforms.schema.tables import CALLING_FORMATS

_FEWEST_TRUNKS = 4
_USUAL_SHARE = 0.75


@rule(
    "format-outlier",
    severity="medium",
    question="Which trunks write numbers in another format than nearly all other trunks at their host?",
    why="A server expects one format: it rejects outbound calls in another one, or connects them to another number.",
    fix="set sip_calling_format to the format of the other trunks, unless this one is meant to differ",
    source="comparison of the account's trunks: at least 4 at the host, of which 75 % have one format",
)
def check_outlier(context: AuditContext) -> Findings:
    """Find the formats of the few; `provider-calling-format` decides where the catalog has the provider's format."""
    columns = ["account", "host", "sip_calling_format"]
    is_format = context.trunks["sip_calling_format"].isin(CALLING_FORMATS)
    formats: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    counts = context.trunks.loc[is_format, columns].value_counts().reset_index()
    for account, host, calling_format, count in counts.itertuples(index=False):
        formats[account, host][calling_format] = count

    def decide(account: str, host: str, calling_format: str, provider: Provider | None) -> Verdict | None:
        (usual, count), *_ = formats[account, host].most_common(1)
        total = formats[account, host].total()
        if total < _FEWEST_TRUNKS or count < total * _USUAL_SHARE or calling_format == usual:
            return None
        if provider and provider.calling_format:
            return None
        seen = f'sip_calling_format is "{calling_format}", {count} of {total} trunks at {quote(host)} have "{usual}"'
        return Verdict(seen, f'set sip_calling_format to "{usual}", unless this trunk is meant to differ')

    return context.decide([*columns, "provider"], decide, is_format & context.trunks["host"].notna())
