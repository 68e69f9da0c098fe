"""What is on disk of a scene whose prediction has begun."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rs4d.engine.shares import Share
from rs4d.files import write_text
from rs4d.geo.raster_file import file_of, is_local

from .joining import Found, join
from .journal import Journal, is_begun, read_entries, require_settings
from .scene import Scene


class SceneWork:
    """What is known on disk of a scene's prediction.

    Args:
        scene: The scene.
        folder: Where journals lie.
        settings: What decides, besides the scene, what is found.
    """

    def __init__(self, scene: Scene, folder: Path, settings: Mapping[str, Any]) -> None:
        self.scene = scene
        path = os.path.abspath(scene.path) if is_local(scene.path) else scene.path
        key = hashlib.sha256(path.encode()).hexdigest()[:12]
        self._folder = folder / f'{scene.name[:60]}-{key}'
        self._settings = dict(settings) | dict(
            scene=path,
            file=_stamp(path),
            shape=[scene.plan.height, scene.plan.width],
            size=scene.plan.size,
            overlap=scene.plan.overlap,
        )

    def journals(self) -> list[Path]:
        """Those of all processes that there have been.

        Raises:
            JournalError: One is of other settings.
        """
        # A process may have just begun one, or been killed when it did.
        found = [path for path in sorted(self._folder.glob('*.journal')) if is_begun(path)]
        for path in found:
            require_settings(path, self._settings)
        return found

    def journal(self, share: Share) -> Journal:
        """The one that this process writes."""
        name = f'{share.rank}of{share.world_size}.journal'
        journal = Journal(self._folder / name, self._settings)
        self._failed(share).unlink(missing_ok=True)
        return journal

    def done(self) -> set[int]:
        """The tiles that some process has done."""
        return {
            tile for path in self.journals() for entry in read_entries(path) for tile in entry.tiles
        }

    def missing(self, share: Share) -> list[int]:
        """The tiles that are left to a process."""
        done = self.done()
        return [number for number in share.part(len(self.scene.plan)) if number not in done]

    def fail(self, share: Share, reason: str) -> None:
        """Note that the scene cannot be predicted to its end."""
        write_text(self._failed(share), reason)

    def failure(self) -> str | None:
        """Why the scene cannot be predicted to its end, if so."""
        reasons = [path.read_text() for path in sorted(self._folder.glob('*.failed'))]
        return reasons[0] if reasons else None

    def found(self) -> tuple[list[Found], int]:
        """The objects of the scene, and how many windows show as many as the model gives at most."""
        pieces = {}
        full: set[int] = set()
        for path in self.journals():
            for entry in read_entries(path):
                by_tile: dict[int, list[Any]] = {tile: [] for tile in entry.tiles}
                for piece in entry.pieces:
                    by_tile[piece.tile].append(piece)
                # What two processes have both done counts once.
                pieces.update(by_tile)
                full.update(entry.full)
        rows = [piece for tile in sorted(pieces) for piece in pieces[tile]]
        return join(rows, self.scene.plan), len(full)

    def pixels(self, tiles: Sequence[int]) -> int:
        """How many pixels the cores of tiles have."""
        return self.scene.plan.core_pixels(tiles)

    def _failed(self, share: Share) -> Path:
        return self._folder / f'{share.rank}of{share.world_size}.failed'


def _stamp(path: str) -> list[int] | None:
    """What changes with a file."""
    file = file_of(path)
    if file is None:
        return None
    status = os.stat(file)
    return [status.st_size, status.st_mtime_ns]
