"""The zip of a function: its own files and no others, the same bytes on every machine and every day.

Nothing is installed into it: the functions use the standard library, and boto3, which Lambda's runtime brings.
So it fits ARM64 as it does the machine that builds it.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import millrace_rotation

FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "database_user": ("database_user", "postgres", "stages"),
    "api_signing": ("api_signing", "pair", "stages"),
    "api_keys": ("api_keys", "pair", "stages"),
    "secret_age": ("secret_age",),
}
"""A function's module -> its files; a test finds one too many or too few. One that rotates is called as the field of
`SecretNames` that it rotates.
"""
WORDS: Final = "millrace/names.py"
"""Without its package's own code, which loads the data plane."""
SOURCE: Final = Path(millrace_rotation.__file__).parents[1]
_LONG_AGO: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can say."""
_UNIX: Final = 3
_READABLE: Final = 0o100644 << 16
"""A file that Lambda's user may read, whatever the builder's umask was."""


def handler(program: str) -> str:
    return f"{millrace_rotation.__name__}.{program}.handler"


def build(program: str) -> bytes:
    """The zip of the function that runs that module."""
    package = millrace_rotation.__name__
    files = [WORDS, *(f"{package}/{name}.py" for name in ("__init__", *FILES[program]))]
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.create_system = _UNIX
            entry.external_attr = _READABLE
            # stored, not deflated: the bytes of deflate depend on the machine's zlib
            entry.compress_type = zipfile.ZIP_STORED
            archive.writestr(entry, (SOURCE / name).read_bytes())
    return target.getvalue()


def write(program: str, folder: Path) -> Path:
    """The zip in a file of that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{program}.zip"
    file.write_bytes(build(program))
    return file


def source_code_hash(content: bytes) -> str:
    """As Lambda reports it of a function's code."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()
