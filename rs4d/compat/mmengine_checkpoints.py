"""MMEngine's reading of checkpoints, which falls back to running whatever a file asks for."""

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import mmengine.runner.checkpoint as mmengine_checkpoint
import torch

Reader = Callable[[str | Path | IO[bytes], Any], Any]


def read_mmengine_checkpoints_with(read: Reader) -> None:
    """Let all of MMEngine's loaders end in ``read``, which takes a path or file and a map location.

    Their two ends are patched: `_safe_torch_load`, whose fallback is ``weights_only=False``, and
    `load_url`, which knows nothing else.
    """

    def load(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
        return read(file, map_location)

    def load_url(
        url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True
    ) -> Any:
        folder = Path(model_dir or Path(torch.hub.get_dir()) / 'checkpoints')
        file = folder / Path(urlsplit(url).path).name
        if not file.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), progress=progress)
        return read(file, map_location)

    mmengine_checkpoint._safe_torch_load = load
    mmengine_checkpoint.load_url = load_url
