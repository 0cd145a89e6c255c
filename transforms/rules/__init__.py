"""The audit's rules, a family to a module: importing this package registers them all."""

from transforms.rules import allowlist, provider, host, number, country, duplicate, exposure, value  # noqa: F401, I001 - in the order they are shown
