"""The facts on providers that the settings name: a file of one's own, or those that come with the product."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sip_trunks.core.errors import SettingsError
from trunk_transforms.enrich.providers import default_providers, read_providers

if TYPE_CHECKING:
    from sip_trunks.core.settings import Settings
    from trunk_transforms.enrich.providers import Providers


def read_facts(settings: Settings) -> Providers:
    """Return the facts on providers. Raises SettingsError if the file cannot be read, or is none of facts."""
    if settings.providers is None:
        return default_providers()
    try:
        return read_providers(settings.providers.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"sip_trunks.providers: {settings.providers} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"sip_trunks.providers: {settings.providers}: {error}") from None


def read_usable_facts(settings: Settings) -> Providers:
    """Return the facts on providers or, if they cannot be read, those that come with the product.

    No snapshot is lost for a file of facts: that something is wrong with it is said when the reports are written.
    """
    try:
        return read_facts(settings)
    except SettingsError:
        return default_providers()
