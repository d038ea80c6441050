"""A fresh virtual environment that sees the packages of the running one, for plug-ins that tests install."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tests.systems import only_posix


@dataclass(frozen=True)
class Environment:
    """Its folder, and where its commands run."""

    folder: Path
    work: Path

    def run(self, *command: str, code: int = 0) -> str:
        """Run a command of the environment (or its Python, for `python`) and return what it printed; `code` is its exit code."""
        done = subprocess.run(
            [str(self.folder / "bin" / command[0]), *command[1:]],
            cwd=self.work,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def install(self, *packages: Path) -> None:
        """Install packages from their folders, without any index."""
        options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check"]
        self.run("python", "-m", "pip", "install", *options, *map(str, packages))

    def test(self, *packages: Path) -> None:
        """Run the tests of packages in one process, which mostly imports torch. Every package has some."""
        said = self.run("python", "-m", "pytest", "-v", "-p", "no:cacheprovider", *map(str, packages))
        for package in packages:
            (tests,) = package.glob("tests/test_*.py")
            assert f"{tests.name}::test_" in said, said


def fresh(folder: Path) -> Environment:
    """Make one; TokenBench is there, as it is here."""
    only_posix("a command is a script with its interpreter in the first line")
    own_pip = (
        ["--without-pip"] if find_spec("pip") else []
    )  # the one that runs here is seen there; to unpack another takes seconds
    subprocess.run([sys.executable, "-m", "venv", *own_pip, str(folder / "venv")], check=True)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    standard = {Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")}
    seen = [Path(path).resolve() for path in sys.path if path and Path(path).is_dir()]
    lines = [str(path) for path in dict.fromkeys(seen) if path not in standard and path.name != "lib-dynload"]
    (packages / "_running.pth").write_text("\n".join(lines) + "\n")
    script = folder / "venv" / "bin" / "tokenbench"
    script.write_text(f"#!{folder / 'venv' / 'bin' / 'python'}\nfrom tokenbench.cli import main\nmain()\n")
    script.chmod(0o755)
    work = folder / "work"
    work.mkdir()
    return Environment(folder / "venv", work)
