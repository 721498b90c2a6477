"""What a command works with: the cluster directory, the settings, the state as it is read.

Kept light: `vm list` uses nothing else. What reaches hosts is in `cli.wiring`.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from tashictl.adapters import config_files, trust
from tashictl.adapters.store import form
from tashictl.cli import progress
from tashictl.cli.options import Globals
from tashictl.cli.records import Scene
from tashictl.errors import InvalidRequest
from tashictl.model.network import Network
from tashictl.model.settings import Merged, Settings, Weight
from tashictl.model.state import State
from tashictl.planning import config


class Desk(Struct, frozen=True, kw_only=True):
    """One command's place of work; `folder` is the cluster directory.

    Its path is plain text: pathlib would be a tenth of a command's start.
    """

    face: Globals
    folder: str
    merged: Merged

    @property
    def settings(self) -> Settings:
        """The merged settings."""
        return self.merged.settings

    @property
    def state_folder(self) -> str:
        """Where the state database lies."""
        return f"{self.folder}/state"

    def state(self) -> State:
        """The last committed state; raises InvalidRequest where there is no cluster."""
        if not trust.is_folder(self.state_folder):
            raise no_cluster(self.folder)
        return form.ReadOnlyStore(self.state_folder).read()

    def scene(self, networks: tuple[Network, ...] = ()) -> Scene:
        """What records are seen against."""
        return Scene(now=datetime.now().astimezone(), settings=self.settings, networks=networks)


def no_cluster(folder: str) -> InvalidRequest:
    """The error for a cluster directory that was not made yet."""
    import shlex

    hint = f"tashictl init {shlex.quote(folder)}, or --cluster DIR"
    return InvalidRequest("E-CLUSTER", f"no cluster in {folder}", hint=hint)


def sit_down(face: Globals) -> Desk:
    """Read the layers of configuration; warnings go to stderr, notes too with -v."""
    around = config_files.surroundings()
    cluster = config_files.find_cluster(face.cluster, face.streams.env, around)
    merged = config.merge(config_files.layers(cluster, around), face.streams.env)
    report = progress.Progress(face)
    for note in merged.notes:
        if note.weight is Weight.WARNING:
            report.warn(f"{note.text}, {note.where}")
        elif face.verbose:
            report.note(f"{note.text}, {note.where}")
    return Desk(face=face, folder=cluster.path, merged=merged)
