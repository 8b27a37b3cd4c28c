"""Where the CUDA sources are."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).resolve().parent
# In a wheel set-up has copied them beside this file; in a checkout they are at its top.
FOLDERS = (HERE / "gpu", HERE.parents[2] / "gpu")


def source_folder() -> Path:
    """Return the folder of the CUDA sources.

    Returns
    -------
    Path
        Folder with the ``.cu`` files and their headers.

    Raises
    ------
    FileNotFoundError
        If neither the installed package nor a checkout has them.
    """
    for folder in FOLDERS:
        if (folder / "layout.h").is_file():
            return folder
    raise FileNotFoundError(f"no CUDA sources in {' or '.join(map(str, FOLDERS))}")
