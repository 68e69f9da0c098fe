"""Scalars and pictures for TensorBoard."""

import textwrap
from typing import Any

from mmdet.registry import VISBACKENDS
from mmengine.config import Config
from mmengine.visualization import TensorboardVisBackend


@VISBACKENDS.register_module()
class TensorBoardBackend(TensorboardVisBackend):
    """MMEngine's backend, whose file is made with the first scalar or picture: a test leaves none."""

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir)
        self._config: Config | None = None

    def _init_env(self) -> None:
        super()._init_env()
        if self._config is not None:
            # The text is Markdown, where code is indented.
            text = textwrap.indent(self._config.pretty_text, ' ' * 4)
            self._tensorboard.add_text('config', text)

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Keep the config for when the file is made."""
        self._config = config
