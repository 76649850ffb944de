"""The model's file, followed from start to start: its changes are put in force, what others joined stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.assets.followed_file import merged
from millrace.assets.load import extended, model_of
from millrace.assets.tag import AssetModel, SourceModel, TagModel

NOTHING = AssetModel(sources=(), tags=())


def tag(name: str, high: float = 1.0) -> TagModel:
    return TagModel(path=f"a/b/c/d/e/{name}", source="plc", unit="degC", high=high)


def model(*names: str, high: float = 1.0) -> AssetModel:
    return model_of([tag(name, high) for name in names])


MODELS = st.dictionaries(st.sampled_from("uvwxyz"), st.floats(0, 2), max_size=6).map(
    lambda highs: model_of([tag(name, high) for name, high in highs.items()])
)


@pytest.mark.requirement("S-21")
@given(in_force=MODELS.filter(lambda one: bool(one.tags)), file=MODELS)
def test_an_unchanged_file_leaves_the_model_in_force_alone(in_force: AssetModel, file: AssetModel) -> None:
    assert merged(in_force, file, file) == in_force


@given(file=MODELS)
def test_a_file_is_put_in_force_whole_where_nothing_is(file: AssetModel) -> None:
    assert merged(NOTHING, file, file) == file


@pytest.mark.requirement("S-21")
@given(before=MODELS, now=MODELS, joined=MODELS)
def test_a_changed_file_is_in_force_and_so_is_what_others_joined(
    before: AssetModel, now: AssetModel, joined: AssetModel
) -> None:
    """`joined` is of other tags, such as a plant's."""
    others = model_of([TagModel(path=f"{one.path}-joined", source="plant") for one in joined.tags])
    if before != now:
        assert merged(extended(before, others), before, now) == extended(now, others)


def test_a_tag_that_left_the_file_stays_if_somebody_described_it_since() -> None:
    before, now = model("left", "kept"), model("kept")
    assert merged(before, before, now) == now
    described = extended(before, model("left", high=9.0))
    assert merged(described, before, now) == extended(now, model("left", high=9.0))


def test_a_tag_that_did_not_change_in_the_file_is_as_somebody_described_it_since() -> None:
    before, now = model("same", "new-limit"), extended(model("same"), model("new-limit", high=2.0))
    described = extended(before, model("same", high=9.0))
    assert merged(described, before, now) == extended(now, model("same", high=9.0))


def test_a_source_of_the_file_goes_with_it_and_one_that_another_tag_names_stays() -> None:
    before = model_of([tag("t")], {"gone": SourceModel(name="gone", silence_us=5)})
    assert [one.name for one in merged(before, before, model("t", high=2.0)).sources] == ["plc"]
