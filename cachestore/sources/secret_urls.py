"""URLs with secrets in them: how variables are put in, and whether a URL carries a secret of its source's options."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, unquote_plus, urlencode, urlsplit

from cachestore.authorizing import url_secrets
from cachestore.config import VARIABLE, expand, texts
from cachestore.errors import ConfigError
from cachestore.text import is_echo
from cachestore.web.echoes import sent_secrets

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from cachestore.config import SourceConfig

# Scheme, userinfo, host, path, query and fragment as they are written (RFC 3986, appendix B), each of them maybe empty.
_PLACES = re.compile(r"((?:[^/?#]*://)?)((?:[^/?#]*@)?)([^/?#]*)([^?#]*)([^#]*)(.*)", re.DOTALL)
_USERS = frozenset({"user", "username"})


def expand_url(raw: str, where: str, environ: Mapping[str, str]) -> str:
    """Return the URL `raw` with every ``${VAR}`` replaced and percent-encoded by its place. Raise as `expand` does.

    No value leaves its place: a password with a slash in it would else end the host, and its rest be shown as a path.
    A variable for the host, all before it, or whole parameters (``?${PARAMETERS}``) is put in as it is.
    """
    scheme, userinfo, host, path, query, fragment = _PLACES.findall(raw)[0]

    def encoded(text: str, safe: str) -> str:
        names = [name for name in VARIABLE.findall(text) if name in environ]
        return expand(text, where, {name: quote(environ[name], safe, errors="surrogateescape") for name in names})

    def parameter(text: str) -> str:
        name, mark, value = text.partition("=")
        return expand(name, where, environ) + mark + encoded(value, "")

    front = expand(scheme, where, environ) + encoded(userinfo, "" if ":" in userinfo else ":")
    rest = encoded(path, "/") + "&".join(map(parameter, query.split("&"))) + expand(fragment, where, environ)
    return front + expand(host, where, environ) + rest


def secrets_of(config: SourceConfig, environ: Mapping[str, str]) -> frozenset[str]:
    """Return what the options of a source hide: what variables bring, and credentials in URLs, headers and by name.

    Each as it is sent and decoded. The name of a user is none: it may well be in a title.
    """
    options = {name: value for name, value in config.options.items() if name not in _USERS}
    headers = options.pop("headers", None)
    found = url_secrets(f"?{urlencode(_expanded(options, environ), quote_via=quote, errors='surrogateescape')}")
    found |= sent_secrets("", _expanded(headers, environ))
    for raw in texts(options):
        with suppress(ConfigError):  # the source itself tells what is wrong
            found |= sent_secrets(expand_url(raw, "", environ), {}) | _brought(raw, environ)
    return frozenset(found - {""})


def credentials_of(config: SourceConfig, environ: Mapping[str, str]) -> frozenset[str]:
    """Return by what a URL is known to carry credentials of a source: what its options hide, and its user."""
    return secrets_of(config, environ) | {
        value for name, value in _expanded(config.options, environ).items() if name in _USERS and value
    }


def carries(url: str, secrets: Collection[str]) -> bool:
    """Return whether userinfo, path or query of a URL holds one of the decoded `secrets`; short ones whole only."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    places = (parts.netloc.rpartition("@")[0], parts.path, parts.query)
    pieces = [piece for place in places for piece in (place, *re.split("[/;:&=]", place))]
    decoded = {read(piece, errors="surrogateescape") for piece in pieces for read in (unquote, unquote_plus)}
    return any(text in secrets or is_echo(text, secrets) for text in decoded)


def _expanded(table: object, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the texts of a table whose variables are set."""
    found = {}
    for name, raw in table.items() if isinstance(table, dict) else ():
        if isinstance(raw, str):
            with suppress(ConfigError):
                found[name] = expand(raw, "", environ)
    return found


def _brought(raw: str, environ: Mapping[str, str]) -> set[str]:
    """Return the values of the variables in a text, except for the scheme, user and host of a URL."""
    scheme, userinfo, _, *others = _PLACES.findall(raw)[0]
    places = [userinfo.partition(":")[2] or userinfo, *others] if scheme else [raw]
    values = {environ[name] for place in places for name in VARIABLE.findall(place)}
    values |= {value for whole in values for _, value in parse_qsl(whole)}
    return values | {quote(value, safe="", errors="surrogateescape") for value in values}
