"""Exports a mix, cloud tracks included, as a folder that a DAW opens.

    from exporter_plugin import export_mix

Importing this face costs nothing: each name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter_plugin.export import export_mix
    from exporter_plugin.mix import read_mix
    from exporter_plugin.options import Options
    from exporter_plugin.outcome import ExportFailed, Report
    from exporter_plugin.plan import Plan, plan_export
    from exporter_plugin.row import Mix, Row

__all__ = ["ExportFailed", "Mix", "Options", "Plan", "Report", "Row", "export_mix", "plan_export", "read_mix"]

_ROOMS = {
    "ExportFailed": "outcome",
    "Mix": "row",
    "Options": "options",
    "Plan": "plan",
    "Report": "outcome",
    "Row": "row",
    "export_mix": "export",
    "plan_export": "plan",
    "read_mix": "mix",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module 'exporter_plugin' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"exporter_plugin.{_ROOMS[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
