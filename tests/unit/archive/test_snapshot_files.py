"""A snapshot comes back as it was, or is refused with the reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from millrace import batch, snapshots
from millrace.errors import SnapshotError

ARRAYS = {
    "ewma": np.arange(12.0).reshape(4, 3),
    "rows": np.zeros(3, batch.ROLLUP),
    "none": np.zeros((0, 5), np.int64),
    "nan": np.array([np.nan, -0.0]),
}
META = {"sources": ["a", "b"], "time_us": 5, "fingerprints": {"ewma": "1"}}


def written(folder: Path, epoch: int = 2, position: int = 10**59) -> Path:
    return snapshots.write(folder, 1, epoch, position, ARRAYS, META, folder_id="f").path


@given(
    st.dictionaries(
        st.text(max_size=5),
        hnp.arrays(
            st.sampled_from([np.float64, np.int64, np.uint8, np.bool_, batch.READING]),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
        ),
        max_size=4,
    )
)
@settings(max_examples=50)
def test_state_comes_back_bit_for_bit(tmp_path_factory, arrays) -> None:
    path = snapshots.write(tmp_path_factory.mktemp("s"), 0, 1, 2, arrays, META).path
    found = snapshots.read(path)
    assert found.meta == META
    assert list(found.arrays) == list(arrays)
    for name, array in arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].shape == array.shape
        assert found.arrays[name].tobytes() == array.tobytes()
        assert found.arrays[name].flags.writeable


def test_every_changed_or_missing_byte_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        with pytest.raises(SnapshotError):
            snapshots.read(path)
        path.write_bytes(whole[:at])
        with pytest.raises(SnapshotError):
            snapshots.read(path)


def test_another_data_folder_or_name_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    assert snapshots.read(path, folder_id="f").position == 10**59
    with pytest.raises(SnapshotError, match="data folder 'f'"):
        snapshots.read(path, folder_id="g")
    other = path.rename(tmp_path / snapshots.file_name(3, 2, 10**59))
    with pytest.raises(SnapshotError, match="holds snap-1-2-"):
        snapshots.read(other)
    with pytest.raises(SnapshotError, match="cannot be read"):
        snapshots.read(tmp_path / "snap-1-1-1.mrs")


def test_another_format_is_named(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(snapshots, "FORMAT_VERSION", 9)
    path = written(tmp_path)
    monkeypatch.undo()
    with pytest.raises(SnapshotError, match="format 9"):
        snapshots.read(path)


def test_only_unlisted_snapshots_that_nobody_needs_are_removed(tmp_path: Path) -> None:
    for epoch, position in ((1, 50), (2, 10), (2, 20), (2, 30), (2, 40), (3, 1)):
        written(tmp_path, epoch, position)
    (tmp_path / "snap-1-1-60.mrs.aside").write_bytes(b"half")
    listed = [snapshots.file_name(1, 2, 20), snapshots.file_name(1, 2, 30)]
    removed = snapshots.remove_unlisted(tmp_path, 1, 2, listed)
    assert sorted(removed) == ["snap-1-1-50.mrs", "snap-1-1-60.mrs.aside", "snap-1-2-10.mrs"]
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*listed, snapshots.file_name(1, 2, 40), snapshots.file_name(1, 3, 1)}
