"""How a person wants a bundle: what an export and its plan can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cachestore.config import ON_ERROR
from cachestore.links import LinkMode
from exporter_plugin.row import public_name
from exporter_plugin.template import Template

if TYPE_CHECKING:
    from collections.abc import Collection

    from cachestore.config import Config


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for; what is None comes from the configuration, and the `name` from the mix.

    `editable` files may be written into, which a `link_mode` must not contradict. `renumber` gives
    published files new names, too; `overwrite_edited` replaces those that somebody changed. `formats` names the
    optional formats to write; without it each that applies is. A name that is a URL is none. Raise ValueError.
    """

    name: str | None = None
    link_mode: LinkMode | str | None = None
    editable: bool = False
    template: str | None = None
    on_error: Literal["fail", "skip"] | None = None
    renumber: bool = False
    overwrite_edited: bool = False
    jobs: int | None = None
    offline: bool = False
    refresh: bool = False
    formats: Collection[str] = ()

    def __post_init__(self) -> None:
        if self.on_error not in (None, *ON_ERROR):
            raise ValueError(f"on_error is {self.on_error!r}; expected {' or '.join(ON_ERROR)}")
        if isinstance(self.formats, str):
            problem = f"formats is {self.formats!r}; expected a list of names, such as [{self.formats!r}]"
            raise ValueError(problem)  # noqa: TRY004 - whatever is wrong with an option is one kind of error
        object.__setattr__(self, "name", public_name(self.name or "") or None)
        if self.editable and self.link_mode not in {None, LinkMode.AUTO}:
            raise ValueError(
                f"link_mode {self.link_mode!r} says how files are linked, and so does editable; choose one"
            )

    def over(self, config: Config) -> Wishes:
        """Return what holds for files and failures: as asked for, else as configured. Raise TemplateError."""
        is_editable = self.editable or (self.link_mode is None and config.editable)
        return Wishes(
            LinkMode.EDITABLE if is_editable else LinkMode(self.link_mode or config.link_mode),
            Template(config.template if self.template is None else self.template),
            self.renumber,
            self.overwrite_edited,
            skips_failures=(self.on_error or config.on_error) == "skip",
        )


CONFIGURED = Options()


@dataclass(frozen=True, slots=True)
class Wishes:
    """What holds for the files of one bundle, nothing of it left open."""

    link_mode: LinkMode
    template: Template
    renumber: bool = False
    overwrite_edited: bool = False
    skips_failures: bool = False
