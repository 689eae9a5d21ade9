"""All hooks of a plugin.

A plugin is a module named by an entry point in the group `zslbench`. Any function in it whose name starts with
`zslbench_` is a hook implementation; you need no decorator and no import of ours. Take only the arguments you use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import typer

    from zslbench.api.progress import Progress
    from zslbench.discovery.registry import Registry
    from zslbench.records.record import RunRecord
    from zslbench.records.spec import RunSpec

hookspec = pluggy.HookspecMarker("zslbench")


@hookspec
def zslbench_register(registry: Registry) -> None:
    """Called once when the plugin is loaded, to register what it offers; see `Registry`."""


@hookspec
def zslbench_commands(app: typer.Typer) -> None:
    """Called before the command line is parsed: add commands to `app`."""


@hookspec
def zslbench_run_started(spec: RunSpec) -> None:
    """Called before a run loads its data; an observer that raises only warns."""


@hookspec
def zslbench_epoch_finished(spec: RunSpec, progress: Progress) -> None:
    """Called after each epoch of training; an observer that raises only warns."""


@hookspec
def zslbench_run_finished(record: RunRecord) -> None:
    """Called when a run's record has been stored; an observer that raises only warns."""


@hookspec
def zslbench_run_failed(spec: RunSpec, error: Exception) -> None:
    """Called when a run that started cannot be finished; an observer that raises only warns."""
