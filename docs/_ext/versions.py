"""The versions that the pages name, so that no page is out of date: `{{ torch }}`, `{{ torch_range }}`."""

from __future__ import annotations

from tokenbench.registry.installation import NAME, pins, requirements_of

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """The tested version and the declared range of each library that TokenBench itself names."""
    texts = {}
    for requirement in (*requirements_of(NAME), *requirements_of(NAME, "lmms")):
        key = requirement.name.replace("-", "_")
        bounds = sorted(requirement.specifier, key=lambda bound: bound.operator, reverse=True)
        texts.setdefault(f"{key}_range", "`" + ",".join(map(str, bounds)) + "`")
        texts[key] = pins()[requirement.name]
    return texts
