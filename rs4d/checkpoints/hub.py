"""Published models on the Hugging Face Hub, by its own client."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rs4d.errors import ConfigError, UserError

from .published import CARD, WEIGHTS

HUB = 'hf://'
# Whose errors say what the Hub, or the way to it, has against a request; the client has had several.
_LIBRARIES = ('huggingface_hub', 'httpx', 'httpx2', 'requests')


class HubError(UserError, OSError):
    """The Hub refused something, or is not there."""


def parse_address(address: str) -> tuple[str, str | None]:
    """Split ``hf://OWNER/NAME``, perhaps with ``@REVISION``, into repository and revision.

    Raises:
        ConfigError: It is no such address.
    """
    found = re.fullmatch(r'hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?', address)
    if found is None:
        raise ConfigError(
            f"'{address}' is no address on the Hub: write hf://OWNER/NAME or hf://OWNER/NAME@REVISION."
        )
    return found[1], found[2]


def upload(folder: str | Path, address: str, private: bool = False) -> str:
    """Send a published model to the Hub, which knows its user by ``hf auth login`` or ``HF_TOKEN``.

    Args:
        folder: With ``model.safetensors`` and ``README.md``; the latter is left as it is if the
            repository has one.
        address: ``hf://OWNER/NAME``; the repository is made if need be.
        private: Whether a new repository is for its owner alone.

    Returns:
        Where it can be seen.

    Raises:
        HubError: The Hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi

    repository, revision = parse_address(address)
    api = HfApi()
    with _explained(address):
        api.create_repo(repository, private=private, exist_ok=True)
        known = api.file_exists(repository, CARD, revision=revision)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            revision=revision,
            commit_message=f'{WEIGHTS} by rs4d push',
            allow_patterns=[WEIGHTS] if known else [WEIGHTS, CARD],
        )
    return str(commit.commit_url)


def download(address: str) -> Path:
    """Get a published model from the Hub; what the Hub's own cache has is not fetched again.

    Raises:
        HubError: There is none, or the Hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download

    repository, revision = parse_address(address)
    with _explained(address):
        return Path(hf_hub_download(repository, WEIGHTS, revision=revision))


@contextmanager
def _explained(address: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        library = type(error).__module__.partition('.')[0]
        if library not in _LIBRARIES and not isinstance(error, OSError):
            raise
        reason = ' '.join(str(error).split())[:300]
        raise HubError(
            f"The Hub, asked for '{address}', says: {reason}. Check the address, the connection, and "
            'who you are (hf auth login, or HF_TOKEN).'
        ) from error
