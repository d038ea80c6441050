"""What may be wrong with this machine, and how to mend it.

Imports nothing that may be broken: that is tried in a process of its own.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from tokenbench.contract.hookspecs import KINDS
from tokenbench.registry.installation import NAME, find_untested, install, installed_version, requirements_of
from tokenbench.registry.plugins import Registry

__all__ = ["Finding", "findings"]

GB = 2**30
ABSENT = "not installed"
NO_PRUNING = ("test", "docs")  # extras of those who change TokenBench itself
MOST_NAMED = 8  # libraries in one line
PAIR = "import torch, torchvision; torchvision.ops.nms; print(torch.__version__, torchvision.__version__)"
DEVICES = (
    "import json, torch; print(json.dumps({'built': torch.version.cuda, 'names':"
    " [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],"
    " 'memory': [torch.cuda.mem_get_info(i) for i in range(torch.cuda.device_count())]}))"
)


@dataclass(frozen=True)
class Finding:
    """The state of one thing that runs depend on."""

    what: str
    """What was looked at."""
    state: Literal["ok", "warn", "FAIL"]
    """`ok`, `warn` (runs work, but something is unusual) or `FAIL` (some runs cannot work)."""
    found: str
    """What was found."""
    fix: str = ""
    """How to fix it; empty if there is nothing to fix."""

    def __str__(self) -> str:
        return f"{self.state:4}  {self.what}: {self.found}" + (f" — {self.fix}" if self.fix else "")


def findings(folder: Path) -> Iterator[Finding]:
    """Look at everything that a run depends on.

    Args:
        folder: Where runs would be written.

    Yields:
        One finding after the other, as soon as it is known.
    """
    yield _python()
    yield from _libraries()
    yield _check_versions()
    yield _pair()
    yield _gpu()
    yield _memory()
    yield _disk("disk for runs", folder, 2)
    yield from _hub()
    yield from _extras()
    yield from _plugins()


def _python() -> Finding:
    wanted, here = metadata(NAME)["Requires-Python"], platform.python_version()
    if here in SpecifierSet(wanted):
        return Finding("python", "ok", here)
    return Finding("python", "FAIL", f"{here}, but {wanted} is required", "create the environment with another Python")


def _libraries() -> Iterator[Finding]:
    """One finding a library that is missing or too old or new, or one for all."""
    needed = requirements_of(NAME)
    wrong = [finding for requirement in needed if (finding := _library(requirement))]
    yield from wrong or [Finding("libraries", "ok", f"all {len(needed)} are in the declared ranges")]


def _library(requirement: Requirement) -> Finding | None:
    """What is wrong with a library, if anything."""
    there = installed_version(requirement.name)
    if not there:
        return Finding(requirement.name, "FAIL", ABSENT, install())
    if requirement.specifier.contains(there, prereleases=True):
        return None
    return Finding(requirement.name, "FAIL", f"{there}, but {requirement.specifier} is required", install())


def _check_versions() -> Finding:
    """Versions that no test has seen. They may work, but a release of a library has changed numbers before."""
    extras = [extra for extra, needed in _extra_requirements().items() if _there(needed)]
    others = [f"{name} {there} (tested: {tested})" for name, there, tested in find_untested(extras)]
    if not others:
        return Finding("tested versions", "ok", "all libraries have the tested versions")
    named = ", ".join(others[:MOST_NAMED]) + (f", and {len(others) - MOST_NAMED} more" if others[MOST_NAMED:] else "")
    return Finding("tested versions", "warn", f"other versions are installed: {named}", install(*extras))


def _pair() -> Finding:
    """Whether torch and torchvision come from one build, which only an import shows."""
    code, out, error = _try_code(PAIR)
    if code == 0:
        return Finding("torch and torchvision", "ok", " and ".join(out.split()))
    if "nms does not exist" in error or "undefined symbol" in error:
        fix = "they come from different builds: install both with one command from one index, with --force-reinstall"
    else:
        fix = "pip install --force-reinstall torch torchvision"
    return Finding("torch and torchvision", "FAIL", error, fix)


def _gpu() -> Finding:
    code, out, error = _try_code(DEVICES)
    if code:
        return Finding("GPU", "warn", f"torch fails: {error}", "fix torch first")
    seen = json.loads(out)
    if seen["names"]:
        gpus = zip(seen["names"], seen["memory"], strict=True)
        return Finding("GPU", "ok", ", ".join(f"{name} ({free / GB:.0f} GB free)" for name, (free, _) in gpus))
    driver = shutil.which("nvidia-smi")
    if driver and not seen["built"]:
        return Finding("GPU", "warn", "a driver is installed, but torch is a CPU build", "install torch for CUDA")
    if driver:
        fix = "the driver may be too old for this CUDA, or no device is visible to this machine: see nvidia-smi"
        return Finding("GPU", "warn", f"torch for CUDA {seen['built']} sees no GPU", fix)
    return Finding("GPU", "ok", "none; models run on the CPU")


def _memory() -> Finding:
    try:
        import psutil
    except ImportError as error:
        return Finding("memory", "warn", f"unknown: {error}", "pip install psutil")
    total = psutil.virtual_memory().total / GB
    if total < 6:
        return Finding(
            "memory", "warn", f"{total:.0f} GB", "enough for the toy models only; use a smaller --batch-size"
        )
    return Finding("memory", "ok", f"{total:.0f} GB")


def _disk(what: str, folder: Path, wanted: float) -> Finding:
    """How much room the folder has, or its nearest existing parent."""
    there = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    free = shutil.disk_usage(there).free / GB
    if not os.access(there, os.W_OK):
        return Finding(what, "FAIL", f"{there} is not writable", "choose another folder, or change its permissions")
    if free < wanted:
        return Finding(what, "warn", f"{free:.1f} GB free in {there}", "free some space")
    return Finding(what, "ok", f"{free:.0f} GB free in {there}")


def _hub() -> Iterator[Finding]:
    """The cache of Hugging Face, and the switches that keep it from the network."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "huggingface"
    yield _disk("Hugging Face cache", Path(os.environ.get("HF_HUB_CACHE", Path(home) / "hub")), 20)
    switches = [
        name for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if os.environ.get(name, "0") not in ("", "0")
    ]
    if switches:
        fix = "models and data must be in the cache or in local folders; unset it to allow downloads"
        yield Finding("network", "warn", f"switched off by {', '.join(switches)}", fix)


def _extras() -> Iterator[Finding]:
    """What is optional, there or not."""
    for extra, needed in _extra_requirements().items():
        wrong = [finding for requirement in needed if (finding := _library(requirement))]
        if not _there(needed):
            yield Finding(f"extra {extra}", "ok", ABSENT, install(extra))
        elif wrong:
            yield Finding(f"extra {extra}", "warn", "; ".join(f"{w.what} {w.found}" for w in wrong), install(extra))
        else:
            yield Finding(f"extra {extra}", "ok", "installed")


def _plugins() -> Iterator[Finding]:
    """Plug-ins that failed, and names that two of them register."""
    registry = Registry()
    for plugin in registry.plugins:
        if plugin.error:
            own = plugin.distribution == NAME
            fix = f"run tokenbench check {plugin.name}, or uninstall it"
            yield Finding(f"plug-in {plugin.name}", "FAIL" if own else "warn", plugin.error, fix)
    for kind in KINDS:
        for name in registry.names(kind):
            brings = [plugin.origin for plugin in registry.plugins if name in plugin.registered[kind]]
            if len(brings) > 1:
                yield Finding(
                    f"{kind} {name}", "warn", f"registered by {' and '.join(brings)}", "uninstall one of them"
                )
    loaded = sum(not plugin.error for plugin in registry.plugins)
    yield Finding("plug-ins", "ok" if loaded else "FAIL", f"{loaded} loaded", "" if loaded else install())


def _extra_requirements() -> dict[str, list[Requirement]]:
    """What each extra adds, those left out that are not for pruning."""
    extras = metadata(NAME).get_all("Provides-Extra") or []
    return {extra: requirements_of(NAME, extra) for extra in extras if extra not in NO_PRUNING}


def _there(needed: list[Requirement]) -> bool:
    """Whether any library is installed that only the extra asks for; what it bounds more tightly is always there."""
    always = {requirement.name for requirement in requirements_of(NAME)}
    return any(installed_version(requirement.name) for requirement in needed if requirement.name not in always)


def _try_code(code: str) -> tuple[int, str, str]:
    """Exit code, output and last line of the errors of Python code in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", errors="replace"
    )
    lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
    return done.returncode, done.stdout.strip(), lines[-1].strip()[:300]
