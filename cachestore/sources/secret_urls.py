"""URLs with secrets in them: how variables are put in, and whether a URL carries a secret of its source's options."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from cachestore.config import VARIABLE, expand, texts
from cachestore.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cachestore.config import SourceConfig

# Scheme, userinfo, host, path, query and fragment as they are written (RFC 3986, appendix B), each of them maybe empty.
_PLACES = re.compile(r"((?:[^/?#]*://)?)((?:[^/?#]*@)?)([^/?#]*)([^?#]*)([^#]*)(.*)", re.DOTALL)


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
    """Return what the options of a source say that may be secret: their texts, and what their URLs carry."""
    found: set[str] = set()
    for raw in texts(config.options):
        with suppress(ConfigError):  # the source itself tells what is wrong
            found |= {expand(raw, "", environ)} | carried(expand_url(raw, "", environ))
    return frozenset(found)


def carried(url: str) -> frozenset[str]:
    """Return user, password and the values of the query, decoded; nothing for what is no URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return frozenset()
    userinfo, mark, _ = parts.netloc.rpartition("@")
    values = [value for _, value in parse_qsl(parts.query, keep_blank_values=True)]
    return frozenset([*values, *map(unquote, userinfo.split(":", 1))] if mark else values)
