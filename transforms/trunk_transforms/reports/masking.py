"""Masking of phone numbers and usernames, for reports that more people may read than the data."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

import pandas as pd

from trunk_transforms.enrich.assistants import rename_assistants
from trunk_transforms.schema.tables import API_COLUMNS, VARIANT_SUFFIX

_DOTS = "••••••"
_SHORT = 6
_SENSITIVE = tuple(column.name for column in API_COLUMNS if column.is_sensitive)
# Fields that never hold a number. Any other field may, as a user before the host or in a wrong entry.
_PLAIN = ("id", "created_at", "updated_at")
# A run of digits long enough for a phone number, and the user before an @. A user begins only where no other user
# could have begun earlier, so that the search takes linear time.
_NUMBER = re.compile(r"\+?\d[\d ()/-]{5,}\d")
_USER = re.compile(r'(?<![^\s@/:"])[^\s@/:"]++(?=@)')


def mask(value: str) -> str:
    """Return a value with only its ends readable, such as `+49••••••78`; a short value is masked completely."""
    if len(value) <= _SHORT:
        return _DOTS if value else value
    return f"{value[: 3 if value.startswith('+') else 2]}{_DOTS}{value[-2:]}"


def mask_columns(frame: pd.DataFrame, others: Collection[str] = ()) -> pd.DataFrame:
    """Return the frame with its columns of phone numbers and usernames masked, misfits included.

    In the columns `others`, whose content is unknown, text that resembles a number or a user is masked.
    """
    secret = [name for name in frame.columns if name.removesuffix(VARIANT_SUFFIX) in (*_SENSITIVE, "normalized_number")]
    open_text = [name for name in frame.columns if name in others and name not in secret and frame[name].dtype == "str"]
    masked = {name: _map(frame[name]) for name in secret} | {name: _map_revealing(frame[name]) for name in open_text}
    return frame.assign(**masked)


def mask_changes(changes: pd.DataFrame) -> pd.DataFrame:
    """Return the changes with numbers and usernames masked, including similar text in other fields."""
    known, other = changes["field"].isin(_SENSITIVE), ~changes["field"].isin((*_SENSITIVE, *_PLAIN))
    masked = {
        n: changes[n].mask(known, _map(changes[n])).mask(other, _map_revealing(changes[n])) for n in ("old", "new")
    }
    return changes.assign(**masked)


def mask_assistants(assignments: pd.DataFrame) -> pd.DataFrame:
    """Return the assignments with the names of assistants masked."""
    masked = assignments["assistants"].map(lambda text: rename_assistants(text, mask), na_action="ignore")
    return assignments.assign(assistants=masked.astype("str"))


def mask_findings(findings: pd.DataFrame, trunks: pd.DataFrame) -> pd.DataFrame:
    """Return the findings with numbers and usernames masked, including quotes in `seen` and `fix`.

    Needs `account`, `id`, `phone_number`, `sip_username`, `sip_address` and `allowed_inbound_ips` of the trunks, one
    row per trunk; their values of the wrong type are masked too if they are there.
    """
    secret = [name for name in trunks.columns if name.removesuffix(VARIANT_SUFFIX) in ("phone_number", "sip_username")]
    others = ["sip_address", "allowed_inbound_ips"]
    others += [name for name in trunks.columns if name.endswith(VARIANT_SUFFIX) and name not in secret]
    named = trunks[["account", "id", *secret, *others]].rename(columns={"id": "trunk_id"})
    of_trunk = findings[["account", "trunk_id"]].merge(named, how="left", validate="m:1")
    rows = (of_trunk[names].itertuples(index=False, name=None) for names in (secret, others))
    secrets = [_secrets(*values) for values in zip(*rows, strict=True)]
    texts = {
        name: [_replace(text, hidden) for text, hidden in zip(findings[name].fillna(""), secrets, strict=True)]
        for name in ("seen", "fix")
    }
    return mask_columns(findings.assign(**texts, cause=_mask_causes(findings, secrets)))


def _mask_causes(findings: pd.DataFrame, secrets: Iterable[Iterable[str]]) -> pd.Series:
    """Return the causes, masked. Findings of a rule have the same cause before and after, or different ones.

    A cause may name a number or a username in the spelling of any of its trunks, so the values of all are masked.
    """
    keys = list(zip(findings["rule"], findings["cause"].fillna(""), strict=True))
    values: dict[tuple[str, str], set[str]] = {key: set() for key in keys}
    for key, hidden in zip(keys, secrets, strict=True):
        values[key].update(hidden)
    counts: Counter[tuple[str, str]] = Counter()
    masked: dict[tuple[str, str], str] = {}
    for (rule, cause), hidden in values.items():
        text = _mask_revealing(_replace(cause, sorted(hidden, key=len, reverse=True)))
        counts[rule, text] += 1
        masked[rule, cause] = text if counts[rule, text] == 1 else f"{text} ({counts[rule, text]})"
    return pd.Series([masked[key] for key in keys], findings.index, dtype="str")


def _map(values: pd.Series) -> pd.Series:
    return values.map(lambda value: mask(str(value)), na_action="ignore")


def _map_revealing(values: pd.Series) -> pd.Series:
    return values.map(_mask_revealing, na_action="ignore")


def _mask_revealing(value: str) -> str:
    for pattern in (_NUMBER, _USER):
        value = pattern.sub(lambda found: mask(found[0]), value)
    return value


def _secrets(known: Iterable[object], others: Iterable[object]) -> list[str]:
    """Return the values to mask in text about a trunk, the longest first: a username may begin with the number."""
    values = [value for value in known if isinstance(value, str) and value.strip()]
    texts = [str(value) for value in others]  # an allowlist is a text or a list
    values += [found for text in texts for pattern in (_NUMBER, _USER) for found in pattern.findall(text)]
    return sorted(values, key=len, reverse=True)


def _replace(text: str, secrets: Sequence[str]) -> str:
    for value in secrets:
        # A short value may be part of another word, so it is masked only in quotes and before an @.
        for before, after in (("", ""),) if len(value) > _SHORT else (('"', '"'), ("", "@")):
            text = text.replace(f"{before}{value}{after}", f"{before}{mask(value)}{after}")
    return text
