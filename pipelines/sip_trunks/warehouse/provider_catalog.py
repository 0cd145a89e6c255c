"""The provider catalog in use: the file in `sip_trunks.providers`, or the built-in catalog."""

from sip_trunks.core.errors import ConfigError
from sip_trunks.core.settings import Settings
from trunk_transforms.enrich.providers import Providers, default_providers, read_providers


def read_provider_catalog(settings: Settings) -> Providers:
    """Return the provider catalog. Raises ConfigError if the file is unreadable or not a valid provider catalog."""
    if settings.providers is None:
        return default_providers()
    try:
        return read_providers(settings.providers.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"sip_trunks.providers: {settings.providers} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"sip_trunks.providers: {settings.providers}: {error}") from None


def read_usable_catalog(settings: Settings) -> Providers:
    """Return the provider catalog, or the built-in catalog if the file is not valid.

    A run stores its snapshots even with an invalid catalog; its reports show the error.
    """
    try:
        return read_provider_catalog(settings)
    except ConfigError:
        return default_providers()
