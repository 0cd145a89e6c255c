"""Validate the URLs that receive the token: the endpoint, and redirects and paging links of the same origin."""

from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

import urllib3

from sip_trunks.core.urls import check_api_url
from trunk_transforms.parse.envelope import InvalidResponseError
from trunk_transforms.text import printable


def endpoint_url(base_url: str, path: str) -> str:
    """Return the URL of a list of the API. Raises ConfigError if the base URL must not receive the token."""
    parts = check_api_url("sources.famulor.base_url", base_url)
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}/{path}"


def resolve_link(base: str, link: str, what: str) -> str:
    """Return the absolute URL of `link` from `base`.

    Raises InvalidResponseError if the URL is malformed or has another origin, because it must not receive the token.
    """
    try:
        # Validate the URL as urllib3 parses it, which sends the request: parsers disagree on malformed URLs.
        target, origin = urllib3.util.parse_url(urljoin(base, link)), urllib3.util.parse_url(base)
    except (ValueError, urllib3.exceptions.LocationParseError):
        raise InvalidResponseError(f"expected a {what} to a URL, got something else") from None
    is_malformed = "\\" in link or target.auth is not None
    if is_malformed or _origin(target) != _origin(origin):
        seen = "one with a user or a backslash" if is_malformed else f"one to {_name_difference(target, origin)}"
        raise InvalidResponseError(
            f"expected a {what} within {origin.netloc}, got {seen}, which must not receive the token; if the API has "
            "moved, change sources.famulor.base_url"
        )
    return target.url


def _name_difference(target: urllib3.util.Url, origin: urllib3.util.Url) -> str:
    """Return the host of the target, or else its scheme or port, whichever differs first."""
    if target.host != origin.host:
        return repr(printable(target.netloc or "", 80))
    if target.scheme != origin.scheme:
        return f"{printable(target.scheme or '', 20)}:// on the same host"
    return f"port {_origin(target)[2]} of the same host"


def _origin(url: urllib3.util.Url) -> tuple[str | None, str | None, int | None]:
    return url.scheme, url.host, url.port or {"https": 443, "http": 80}.get(url.scheme or "")


def next_page_url(url: str, next_page: str | int) -> str:
    """Return the URL of the next page, from a link or a page number. Raises InvalidResponseError for another origin."""
    if isinstance(next_page, str):
        return resolve_link(url, next_page, "paging link")
    parts = urlsplit(url)
    query = [pair for pair in parse_qsl(parts.query) if pair[0] != "page"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("page", next_page)])))
