"""Metrics as Prometheus reads them."""

from __future__ import annotations

import re

_SAMPLE = re.compile(r'([a-z_]+)(\{[a-z]+="(?:[^"\\\n]|\\.)*"(?:,[a-z]+="(?:[^"\\\n]|\\.)*")*\})? (\S+)')


def samples_of(text: str) -> dict[str, float]:
    """Return the samples of a text in Prometheus's format; it has nothing else, each metric with its type before."""
    samples, typed = {}, set()
    for line in text.splitlines():
        if line.startswith("#"):
            _, kind, name, _ = line.split(" ", 3)
            typed |= {name} if kind == "TYPE" else set()
            continue
        found = _SAMPLE.fullmatch(line)
        assert found, line
        assert found[1] in typed
        samples[f"{found[1]}{found[2] or ''}"] = float(found[3])
    return samples
