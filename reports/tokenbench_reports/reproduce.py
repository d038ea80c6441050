"""How to get the same numbers again."""

import shlex
from collections.abc import Mapping

LISTS = ("tasks", "strategies", "budgets", "models", "seeds")
VALUES = (
    "turns",
    "limit",
    "frames",
    "fps",
    "batch_size",
    "device",
    "dtype",
    "attention",
    "match",
    "margin",
    "until",
    "spending",
)


def command(about: Mapping[str, object]) -> str:
    """The command line that repeats a run from its manifest; empty if the manifest does not say enough."""
    spec = about.get("spec")
    if not isinstance(spec, Mapping) or "suite" not in spec:
        return ""
    words = ["tokenbench", "run", "--suite", str(spec["suite"])]
    for name in LISTS:
        if values := spec.get(name):
            words += [f"--{name}", ",".join(map(str, values))]
    for name in VALUES:
        if (value := spec.get(name)) not in (None, ""):
            words += [f"--{name.replace('_', '-')}", str(value)]
    if spec.get("held_out"):
        words += ["--held-out", str(spec["held_out"])]
    if spec.get("until"):
        words += ["--looks", str(spec["looks"])]
    return shlex.join(words if spec.get("floors") else [*words, "--no-floors"])


def facts(about: Mapping[str, object]) -> list[tuple[str, str]]:
    """Versions, hardware and the identity of the models, as (name, value)."""
    pairs = []
    for group in ("versions", "hardware"):
        values = about.get(group)
        if isinstance(values, Mapping):
            pairs += [(str(name), str(value)) for name, value in values.items() if value is not None]
    models = about.get("models")
    if isinstance(models, Mapping):
        pairs += [(f"weights of {name}", str(model.get("identity", ""))[:16]) for name, model in models.items()]
    return pairs
