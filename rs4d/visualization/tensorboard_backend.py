"""Scalars and pictures for TensorBoard."""

import importlib.util
import logging
import textwrap
from typing import Any

from mmdet.registry import VISBACKENDS
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.visualization import TensorboardVisBackend


@VISBACKENDS.register_module()
class TensorBoardBackend(TensorboardVisBackend):
    """MMEngine's backend, which lets a run go on where the package ``tensorboard`` is missing.

    The log then says once what to install. The file is made with the first scalar or picture, so
    that a test leaves none.

    Args:
        save_dir: Folder of the event files; the runner sets it to the run's ``vis_data``.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir)
        self._config: Config | None = None
        self._installed = importlib.util.find_spec('tensorboard') is not None
        if not self._installed:
            print_log(
                'TensorBoard is not installed, so this run writes nothing for it; its scalars are '
                "in vis_data/scalars.json all the same. Install it with 'pip install tensorboard', "
                'or take TensorBoardBackend out of vis_backends in the config.',
                logger='current',
                level=logging.WARNING,
            )

    def _init_env(self) -> None:
        if not self._installed:
            self._tensorboard = _NoWriter()
            return
        super()._init_env()
        if self._config is not None:
            # The text is Markdown, where code is indented.
            text = textwrap.indent(self._config.pretty_text, ' ' * 4)
            self._tensorboard.add_text('config', text)

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Keep the config for when the file is made.

        Args:
            config: The run's.
            **kwargs: As MMEngine's, not used.
        """
        self._config = config


class _NoWriter:
    """Has every method of a writer, and writes nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None
