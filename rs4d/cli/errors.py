"""What the tools say to the person who started them, and what they leave to the one who mends them."""

import errno
import re
from collections.abc import Iterator

import torch

from rs4d.errors import UserError, ran_out_of_memory


def explain(error: BaseException) -> str | None:
    """Put an error that its user can put right into one paragraph.

    Such are all `UserError`s, a name that is in no registry, a full disk and a full memory. Anything
    else is a bug, whose traceback is worth more than a sentence.

    Returns:
        The paragraph, or None for a bug.
    """
    for link in _chain(error):
        if isinstance(link, UserError):
            return _paragraph(str(link))
        if isinstance(link, KeyError) and re.search(r'is not in the .*registry', str(link)):
            return (
                f'The config names something that does not exist: {_paragraph(str(link))} Check '
                "the spelling of 'type' in the config; what is your own has to be imported by its "
                'custom_imports.'
            )
        if isinstance(link, torch.cuda.OutOfMemoryError):
            return (
                'The memory of the GPU ran out. Lower train_dataloader.batch_size, set '
                'model.backbone.with_cp=True, or train with --amp (all go through --cfg-options or '
                f'flags). PyTorch says: {_paragraph(str(link))}'
            )
        if ran_out_of_memory(link):
            return (
                'The memory of this machine ran out. Lower train_dataloader.batch_size or image_size, '
                'set model.backbone.with_cp=True, or lower num_workers of the data loaders (all go '
                f'through --cfg-options). What was asked for: {_paragraph(str(link)) or "unknown"}'
            )
        if isinstance(link, OSError) and link.errno == errno.ENOSPC:
            return (
                f'The disk is full: nothing more can be written to {link.filename or "it"}. Free '
                'some space or choose another --work-dir; a training goes on from its newest '
                'checkpoint with --resume.'
            )
    return None


def interruption(error: BaseException) -> BaseException | None:
    """Find the Ctrl-C or SIGTERM that MMEngine has turned into an error.

    Its formatter of configs says of whatever stops it that the syntax is wrong.
    """
    if not isinstance(error, SyntaxError):
        return None
    return next((link for link in _chain(error) if isinstance(link, KeyboardInterrupt)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _paragraph(text: str) -> str:
    # A data loader's worker puts its whole traceback into the message; what was raised ends it.
    if text.startswith('Caught '):
        text = re.split(r'\n[\w.]*(?:Error|Exception): ', text)[-1]
    return ' '.join(text.split())
