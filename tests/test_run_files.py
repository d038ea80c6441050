"""Files of a run directory are opened behind one door, `tokenbench.store.files`: nothing else in the core and the reports opens any.

Who opens other files stands below, with what they are. What is added there must never be a file of a run directory.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOOKED_AT = [path for folder in ("tokenbench", "reports", "tools") for path in (ROOT / folder).rglob("*.py")]
MODULES = ("os", "shutil", "tempfile", "io")
OF_MODULES = {
    "open", "fdopen", "replace", "rename", "renames", "unlink", "remove", "removedirs", "mkdir", "makedirs", "rmdir", "listdir", "scandir",
    "walk", "stat", "lstat", "link", "symlink", "truncate", "chmod", "utime", "rmtree", "copy", "copy2", "copyfile", "copytree", "move",
    "mkstemp", "mkdtemp", "TemporaryDirectory", "TemporaryFile", "NamedTemporaryFile", "FileIO",
}  # fmt: skip
OF_PATHS = {
    "open", "read_text", "read_bytes", "write_text", "write_bytes", "touch", "unlink", "mkdir", "rmdir", "symlink_to", "hardlink_to",
    "iterdir", "glob", "rglob", "walk", "exists", "is_file", "is_dir", "is_symlink", "stat", "lstat", "chmod", "samefile",
}  # fmt: skip
OF_LIBRARIES = {
    "FileLock", "SoftFileLock", "ParquetFile", "ParquetWriter", "read_table", "read_metadata", "read_schema", "write_table", "dataset",
    "read_parquet", "to_parquet", "read_csv", "read_json", "read_pickle", "to_pickle", "to_feather", "read_feather", "savefig", "memmap",
    "OSFile", "memory_map", "input_stream", "output_stream", "safe_open",
}  # fmt: skip
WRITERS = {"to_csv", "to_json", "to_html", "to_latex", "to_markdown"}  # of files only if they are told of one

DOOR = "tokenbench/store/files.py"
OTHERS = {
    "tools/tokenbench_tools/bench/machine.py": {"read_text"},  # /proc
    "tools/tokenbench_tools/bench/memory.py": {"read_text", "write_text"},  # /proc
    "tools/tokenbench_tools/importing/cells.py": {"exists", "is_file"},  # what `import` is to read
    "tools/tokenbench_tools/importing/files.py": {"is_file", "read_bytes", "rglob", "stat"},  # logs of other tools
    "tools/tokenbench_tools/importing/images.py": {"read_table"},  # of `files`, a table named with --images
    "tools/tokenbench_tools/importing/lmms_logs.py": {"glob", "is_file"},  # logs of lmms-eval
    "tools/tokenbench_tools/importing/vlmevalkit.py": {"is_file", "iterdir", "read_table"},  # files of VLMEvalKit
    "reports/tokenbench_reports/claims/printed.py": {"open"},  # the ledger in the package
    "tokenbench/commands/loading.py": {"read_text"},  # the file named with --device-map
    "tokenbench/models/adapters.py": {"is_file", "read_text"},  # model folders
    "tokenbench/models/decoding.py": {"exists"},  # model folders
    "tokenbench/models/given.py": {"TemporaryDirectory"},  # its own
    "tokenbench/models/loading.py": {"TemporaryDirectory"},  # its own
    "tokenbench/registry/installation.py": {"read_text"},  # a list in the package
    "tokenbench/commands/listing.py": {"is_dir"},  # a model folder
    "tools/tokenbench_tools/doctor/findings.py": {"exists"},  # where runs and the cache of models will be
    "tokenbench/commands/comparing.py": {"mkdir"},  # the folder named with -o
    "tokenbench/commands/specfile.py": {"exists", "is_file", "read_text", "stat"},  # the file named with --spec
    "suites/tokenbench_suites/images.py": {"open", "stat"},  # pictures of data sets
    "tokenbench/models/source.py": {"exists", "is_dir", "is_file", "iterdir", "open", "read_text"},  # model folders
    "tokenbench/models/weights.py": {"glob", "read_text", "safe_open"},  # model folders
    "tokenbench/commands/output.py": {"FileIO", "open"},  # the standard streams; the null device
    "tokenbench/commands/checking.py": {"is_file"},  # the plug-in file that is checked
    "tools/tokenbench_tools/executors/ray_cluster.py": {"open"},  # the null device
    "tokenbench/registry/plugins.py": {"is_file"},  # files named with --plugin
    "tokenbench/runner/sources.py": {"is_file", "read_bytes", "stat"},  # source of modules
    "tools/tokenbench_tools/scaffold/__init__.py": {"copyfile", "exists", "mkdir", "read_text", "write_text"},  # a new package
    "tokenbench/store/export.py": {"iterdir", "to_parquet", "write_text"},  # a new folder named with --to
    "tokenbench/store/new_folder.py": {"chmod", "exists", "is_dir", "iterdir", "mkdir", "mkdtemp", "replace", "rmtree"},  # a new folder named with -o or --to
    "tokenbench/registry/suites.py": {"is_dir", "is_file", "iterdir"},  # folders named with --data, tables named with --suite
    "tokenbench/testing/made_up.py": {"TemporaryDirectory"},  # its own
    "tokenbench/testing/report.py": {"TemporaryDirectory", "is_file", "mkdir", "read_text", "rglob", "stat"},  # its own
    "reports/tokenbench_reports/publish/site.py": {"read_text"},  # style and script in the package
    "reports/tokenbench_reports/html/__init__.py": {"read_text"},  # style and script in the package
    "reports/tokenbench_reports/json_file.py": {"read_text"},  # the schema in the package
}  # fmt: skip
INSIDE = {
    "tokenbench/store/directory.py": {"exists", "is_dir", "is_file", "is_symlink"},  # of the root
    "tokenbench/store/lock.py": {"FileLock"},  # after `files.check_lock`
    "tokenbench/store/run_json.py": {"FileLock"},  # after `files.check_lock`
    "tokenbench/store/record_file.py": {"ParquetFile", "read_metadata", "write_table"},  # of bytes, to a buffer
    "reports/tokenbench_reports/publish/tables.py": {"read_csv"},  # of bytes
    "tools/tokenbench_tools/judge/rated.py": {"to_parquet"},  # to bytes
    "tools/tokenbench_tools/executors/slurm.py": {"mkdtemp"},  # in a folder that the door made
    "tokenbench/store/report_files.py": {"rmtree"},  # of a folder that a report made; rmtree follows no link
    "reports/tokenbench_reports/figures.py": {"savefig"},  # to bytes
    "reports/tokenbench_reports/mlflow_runs.py": {"is_file", "rglob", "rmtree"},  # in a folder that this process made
    "reports/tokenbench_reports/terminal.py": {"exists"},  # says where the page is, and does not open it
    "reports/tokenbench_reports/wandb_run.py": {"is_file", "rglob"},  # in a folder that this process made
}
"""What is done with files of a run directory elsewhere, and why nothing is followed or opened by it."""


def opening(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Calls, and functions handed on, that look at, open or change files by their path."""
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Name)
            and node.id in {"open", *OF_LIBRARIES} - {"read_json"}
            and isinstance(node.ctx, ast.Load)
        ):
            yield node.id, node.lineno
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield from ((name.name, node.lineno) for name in node.names if name.name in OF_MODULES)
        if not isinstance(node, ast.Attribute):
            continue
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        if owner in ("files", "Run", "Store"):  # the door; classmethods of that name
            continue
        if owner in MODULES:
            if node.attr in OF_MODULES:
                yield node.attr, node.lineno
        elif node.attr in OF_PATHS | OF_LIBRARIES or (
            node.attr in WRITERS and id(node) in called and called[id(node)].args
        ):
            yield node.attr, node.lineno


def test_files_of_a_run_are_opened_behind_the_door() -> None:
    """What is found is opened with tokenbench.store.files (or tokenbench.store.report_files); or it is said above what other file it is."""
    strange, needless = [], []
    for path in LOOKED_AT:
        name = path.relative_to(ROOT).as_posix()
        if name != DOOR:
            allowed = OTHERS.get(name, set()) | INSIDE.get(name, set())
            found = list(opening(ast.parse(path.read_text(encoding="utf-8"))))
            strange += [f"{name}:{line}: {what}" for what, line in found if what not in allowed]
            needless += [f"{name}: {what}" for what in allowed - {what for what, _ in found}]
    assert not strange
    assert not needless


@pytest.mark.parametrize(
    "code",
    [
        "open('x')", "io.open('x')", "os.open('x', 0)", "Path('x').open()", "x.read_text()", "x.write_bytes(b'')", "from os import open",
        "pq.read_table(x)", "FileLock(x)", "from filelock import FileLock\nFileLock(x)", "table.to_parquet(x)", "table.to_csv(x)",
        "figure.savefig(x)", "map(Path.read_text, x)", "x.exists()", "shutil.rmtree(x)", "os.replace(x, y)",
    ],
)  # fmt: skip
def test_every_way_to_open_a_file_is_seen(code: str) -> None:
    assert list(opening(ast.parse(code)))


def test_what_opens_no_file_is_not_seen() -> None:
    assert not list(
        opening(ast.parse("table.to_csv(index=False)\nRun.open(x)\n'a'.replace('a', 'b')\nfiles.read(x, y)"))
    )
