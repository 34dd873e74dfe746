"""Saved models: told from names on a hub, and missed before anything is looked up."""

from __future__ import annotations

import os


def find_folder(what: str, name: str | os.PathLike[str]) -> str:
    """Bring a folder or a name on a hub to a str; a path must be there.

    Parameters
    ----------
    what : str
        The parameter, for the message.
    name : str or path-like
        What no hub has as a name ("name" or "owner/name") is a path.

    Returns
    -------
    name : str
        With the home folder in place of ``~``.

    Raises
    ------
    FileNotFoundError
        For a path to nothing, with the current folder.
    """
    path = os.path.expanduser(os.fspath(name))
    if _is_path(name) and not os.path.isdir(path):
        raise FileNotFoundError(
            f"{what}={os.fspath(name)!r} could not be loaded: {no_folder(path)}. Pass the folder "
            "of a saved model and tokenizer (save_pretrained makes it)."
        )
    return path


def no_folder(path: str) -> str:
    """Say that there is no such folder, or that it is a file, and where was looked."""
    if os.path.exists(path):
        return f"{path!r} is a file, no folder"
    return f"there is no folder {path!r} (the current folder is {os.getcwd()!r})"


def _is_path(name: str | os.PathLike[str]) -> bool:
    if not isinstance(name, str):
        return True
    return name.startswith((".", "~")) or os.path.isabs(name) or "\\" in name or name.count("/") > 1
