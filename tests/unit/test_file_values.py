"""A value from files is what the files held when they were last good."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_bridge import file_values
from otel_bridge.errors import BridgeError
from otel_bridge.file_values import FileValue, Fixed, Marks, Part

if TYPE_CHECKING:
    from pathlib import Path


def value_of(*paths: Path) -> FileValue[str]:
    """The texts of files, joined; an empty one can't be used, nor those that name different pairs."""

    def read(marks: Marks) -> str:
        texts = []
        for path in paths:
            marks.note(str(path))
            try:
                texts.append(path.read_text())
            except OSError:
                raise BridgeError(f"{path.name} can't be read") from None
            if not texts[-1]:
                raise BridgeError(f"{path.name} is empty")
        if len(set(texts)) > 1:
            raise BridgeError("no pair")
        return texts[0]

    return FileValue(read)


def test_a_change_is_seen_within_a_second_and_files_are_not_looked_at_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 50.0
    monkeypatch.setattr("time.monotonic", lambda: now_s)
    key = tmp_path / "key"
    key.write_text("old")
    value = value_of(key)
    key.write_text("newer")
    assert value.get() == "old"
    now_s += file_values.LOOK_EVERY_S
    assert value.get() == "newer"


def test_what_a_peer_has_refused_is_looked_for_at_once(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("old")
    value = value_of(key)
    key.write_text("newer")
    assert value.look() == "newer"


def test_a_link_that_is_swapped_is_a_change(tmp_path: Path) -> None:
    """Kubernetes: ``key`` leads to ``..data/key``, and ``..data`` is replaced as a whole."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text(name)
        os.utime(tmp_path / name / "key", (1, 1))
    data, key = tmp_path / "..data", tmp_path / "key"
    data.symlink_to("first")
    key.symlink_to("..data/key")
    value = value_of(key)
    (tmp_path / "..new").symlink_to("second")
    (tmp_path / "..new").replace(data)
    assert value.look() == "second"


@pytest.mark.parametrize("bad", [None, "", "of another pair"])
def test_files_that_can_not_be_used_leave_the_value_and_are_said_once(
    tmp_path: Path, bad: str | None
) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    key.write_text("one")
    certificate.write_text("one")
    value = value_of(key, certificate)
    said: list[str] = []
    renewed: list[str] = []
    value.on_trouble, value.on_renewed = said.append, lambda: renewed.append("now")
    key.unlink()
    if bad is not None:
        key.write_text(bad)
    for _ in range(3):
        assert value.look() == "one"
    assert len(said) == 1
    assert not renewed
    key.write_text("second")
    certificate.write_text("second")
    assert value.look() == "second"
    assert (len(said), renewed) == (1, ["now"])


@given(st.lists(st.sampled_from(["", "a", "bb", "ccc", None]), max_size=8))
def test_whatever_becomes_of_a_file_the_last_good_text_is_the_value(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str | None]
) -> None:
    key = tmp_path_factory.mktemp("files") / "key"
    key.write_text("first")
    value = value_of(key)
    last_good = "first"
    for text in texts:
        key.unlink(missing_ok=True)
        if text is not None:
            key.write_text(text)
        last_good = text or last_good
        assert value.look() == value.get() == last_good


def test_a_part_is_the_same_object_until_the_whole_is_another(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("old")
    part = Part(value_of(key), lambda text: [text])
    first = part.get()
    assert part.look() is first
    key.write_text("newer")
    assert part.look() == part.get() == ["newer"]


def test_the_first_reading_has_to_succeed(tmp_path: Path) -> None:
    with pytest.raises(BridgeError, match="key can't be read"):
        value_of(tmp_path / "key")


def test_a_value_that_no_file_holds_stays() -> None:
    value = Fixed("a")
    assert value.get() == value.look() == "a"
