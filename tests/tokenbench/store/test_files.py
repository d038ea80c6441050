"""The door to a run directory: what is opened, what is refused, and what becomes of a file under hands that were killed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import CHANGES, Dead, Killed, Points, watched
from tests.systems import link, only_posix, pipe, socket_file
from tokenbench import MachineError
from tokenbench.store import files

ROOT_DOES: dict[str, Callable[[Path, Path], object]] = {
    "read": files.read,
    "read_lines": lambda path, root: list(files.read_lines(path, root)),
    "append": lambda path, root: files.append(path, root, b"more"),
    "is_file": files.is_file,
    "check_lock": files.check_lock,
}
KINDS: dict[str, Callable[[Path, Path], object]] = {
    "link": lambda path, other: link(path, other),
    "link to nothing": lambda path, other: link(path, other.with_name("new")),
    "pipe": lambda path, other: pipe(path),
    "folder": lambda path, other: path.mkdir(),
    "socket": lambda path, other: socket_file(path),
    "link to itself": lambda path, other: link(path, path.name),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "run" / "cells").mkdir(parents=True)
    (tmp_path / "other").write_bytes(b"mine")
    return tmp_path / "run"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("does", ROOT_DOES)
def test_only_ordinary_files_are_opened(root: Path, does: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    path, other = root / "cells" / "a", root.parent / "other"
    KINDS[kind](path, other)
    with pytest.raises(MachineError, match="is a link" if "link" in kind else "is not a regular file"):
        ROOT_DOES[does](path, root)
    assert other.read_bytes() == b"mine"
    assert not other.with_name("new").exists()


@pytest.mark.parametrize("does", [*ROOT_DOES, "write_atomically", "remove", "names", "make_folder", "sweep"])
def test_nothing_is_reached_through_a_link(root: Path, does: str) -> None:
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "a").write_bytes(b"mine")
    (outside / ".a.01234567.tmp").write_bytes(b"mine")
    (root / "cells").rmdir()
    link(root / "cells", outside)
    more: dict[str, Callable[[Path, Path], object]] = {
        "write_atomically": lambda path, root: files.write_atomically(path, b"more", root),
        "remove": files.remove,
        "names": lambda path, root: files.names(path.parent, root),
        "make_folder": lambda path, root: files.make_folder(path.parent / "new", root),
        "sweep": lambda path, root: files.sweep(path.parent, root),
    }
    with pytest.raises(MachineError, match="cells is a link"):
        (ROOT_DOES | more)[does](root / "cells" / "a", root)
    assert {path.name: path.read_bytes() for path in outside.iterdir()} == {"a": b"mine", ".a.01234567.tmp": b"mine"}


def test_the_root_itself_may_be_reached_through_links(root: Path) -> None:
    link(root.parent / "name", root)
    files.write_atomically(root.parent / "name" / "cells" / "a", b"x", root.parent / "name")
    assert files.read(root / "cells" / "a", root) == b"x"


def test_publishing_replaces_a_link_and_what_it_leads_to_stays(root: Path) -> None:
    link(root / "a", root.parent / "other")
    files.write_atomically(root / "a", b"x", root)
    assert files.read(root / "a", root) == b"x"
    assert (root.parent / "other").read_bytes() == b"mine"


def test_a_file_with_a_second_name_elsewhere_is_added_to_here_only(root: Path) -> None:
    """As in a copy made of hard links."""
    os.link(root.parent / "other", root / "a")
    files.append(root / "a", root, b" and more")
    assert files.read(root / "a", root) == b"mine and more"
    assert (root.parent / "other").read_bytes() == b"mine"


def test_a_lock_with_a_second_name_is_not_given_to_what_may_empty_it(root: Path) -> None:
    os.link(root.parent / "other", root / "lock")
    with pytest.raises(MachineError, match="hard link"):
        files.check_lock(root / "lock", root)


def test_a_file_that_is_too_large_is_not_read(root: Path) -> None:
    (root / "a").write_bytes(b"12345")
    assert files.read(root / "a", root, most=5) == b"12345"
    with pytest.raises(MachineError, match="it has more than"):
        files.read(root / "a", root, most=4)
    os.truncate(root / "a", 2**40)
    for read in (ROOT_DOES["read"], ROOT_DOES["read_lines"]):
        with pytest.raises(MachineError, match="it has more than"):
            read(root / "a", root)


def test_lines_are_read_as_they_stand(root: Path) -> None:
    (root / "a").write_bytes(b"one\n\ntwo\r\nthree")
    assert list(files.read_lines(root / "a", root)) == [b"one\n", b"\n", b"two\r\n", b"three"]


def test_what_was_set_aside_before_is_not_overwritten(root: Path) -> None:
    for content in (b"first", b"second", b"third"):
        files.write_atomically(root / "cells" / "a", content, root)
        files.set_aside(root / "cells" / "a", root)
    there = {path.name: path.read_bytes() for path in (root / "cells").iterdir()}
    assert there == {"a.broken": b"first", "a.broken.2": b"second", "a.broken.3": b"third"}


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_published_file_has_the_rights_that_the_user_gives_to_new_files(root: Path, mask: int, mode: int) -> None:
    only_posix("files of Windows have no such rights")
    before = os.umask(mask)
    try:
        files.write_atomically(root / "a", b"x", root)
    finally:
        os.umask(before)
    assert (root / "a").stat().st_mode & 0o777 == mode


def test_a_file_is_there_as_it_was_or_as_it_will_be_wherever_the_process_is_killed(root: Path) -> None:
    counted = Points(CHANGES)
    with watched(root, counted):
        files.write_atomically(root / "cells" / "a", b"old", root)
    assert [name.split()[0] for name in counted.seen] == ["create", "write", "write", "fsync", "replace", "fsync"]
    for at in range(len(counted.seen)):
        with watched(root, Dead(CHANGES, at)), pytest.raises(Killed):
            files.write_atomically(root / "cells" / "a", b"a new one", root)
        assert files.read(root / "cells" / "a", root) == (b"a new one" if at == len(counted.seen) - 1 else b"old")
        files.write_atomically(root / "cells" / "a", b"old", root)
    assert len(files.names(root / "cells", root)) > 1
    files.sweep(root / "cells", root)
    assert files.names(root / "cells", root) == ["a"]


def test_a_temporary_file_that_is_swept_away_is_written_again(root: Path) -> None:
    swept = []

    def sweep(call: str, path: str) -> None:
        if call == "replace" and not swept:
            swept.append(path)
            os.unlink(path)

    with watched(root, sweep):
        files.write_atomically(root / "a", b"x", root)
    assert files.read(root / "a", root) == b"x"
    assert len(swept) == 1


def test_a_sweep_removes_nothing_that_may_be_the_users(root: Path) -> None:
    kept = {".config.settings", "a.0123abcd.tmp", ".a.tmp", ".a.0123ABCD.tmp", ".a.0123abcd", "notes.tmp"}
    for name in (*kept, ".a.0123abcd.tmp", ".run.json.89abcdef.tmp"):
        (root / "cells" / name).touch()
    files.sweep(root / "cells", root)
    assert set(files.names(root / "cells", root)) == kept


def test_a_folder_that_is_gone_is_not_made_again(root: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        files.write_atomically(root / "gone" / "a", b"x", root)
    assert str(error.value.filename).startswith(str(root / "gone"))
    assert not (root / "gone").exists()


def test_an_error_names_the_file_and_not_its_temporary_one(root: Path) -> None:
    (root / "summary.md").mkdir()
    with pytest.raises(OSError, match=r"directory|denied") as error:
        files.write_atomically(root / "summary.md", b"x")
    assert error.value.filename == str(root / "summary.md")
    assert not list(root.glob(".*.tmp"))
