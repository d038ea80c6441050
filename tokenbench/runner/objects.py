"""Models of a request that are objects: their names, their types of numbers, and what a run without them says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tokenbench.contract.backbone import Backbone
from tokenbench.contract.loaded import LoadedModel
from tokenbench.errors import UsageError
from tokenbench.registry.plugins import Registry, is_name
from tokenbench.store.spec import Spec

__all__ = ["check_objects", "common_dtype", "name_model", "name_objects"]

USUAL = "float32"
"""The type of numbers of a run that names none."""


def name_model(model: str | Backbone | LoadedModel, registry: Registry) -> str:
    """Return the name under which a run uses a model.

    Raises:
        UsageError: No plug-in registers the backbone, or the name of an object is that of a registered model or no name.
    """
    if isinstance(model, str):
        return model
    if isinstance(model, LoadedModel):
        name = model.name or type(model.model).__name__
        if not is_name(name) or name in registry.names("backbones"):
            raise UsageError(
                f"models: an object cannot have the name {name!r:.60}",
                "pass another one, of letters, digits, '.', '_' and '-', as its third argument: LoadedModel(model, processor, \"mine\")",
            )
        return name
    found = registry.name_of("backbones", type(model))
    if found is None:
        cls = type(model)
        raise UsageError(
            f"models: no plug-in registers {cls.__module__}.{cls.__qualname__}",
            "register it in a plug-in file, give that file in plugins, and use its name",
        )
    return found


def name_objects(models: Iterable[str | Backbone | LoadedModel], registry: Registry) -> dict[str, LoadedModel]:
    """Return the models that are objects, by their names.

    Raises:
        UsageError: Two of them, or one and a name, have the same name.
    """
    objects: dict[str, LoadedModel] = {}
    models = list(models)
    names = [name_model(model, registry) for model in models]
    for model, name in zip(models, names, strict=True):
        if isinstance(model, LoadedModel):
            if names.count(name) > 1:
                raise UsageError(
                    f"models: two models have the name '{name}'",
                    'name the objects: LoadedModel(model, processor, "mine")',
                )
            objects[name] = model
    return objects


def common_dtype(asked: str, models: int, objects: Mapping[str, LoadedModel]) -> str:
    """Return the type of numbers of a run, which is that of its objects if there are any.

    Args:
        asked: What the request says.
        models: How many models the run has.
        objects: Those of them that are objects.

    Raises:
        UsageError: An object is of another type than the rest of the run.
    """
    dtypes = {name: str(one.model.dtype).removeprefix("torch.") for name, one in objects.items()}
    alone = bool(objects) and len(objects) == models and asked == USUAL
    common = next(iter(dtypes.values())) if alone else asked
    for name, dtype in dtypes.items():
        if dtype != common:
            raise UsageError(
                f"models: {name} is in {dtype}, and the run in {common}",
                f"pass dtype='{dtype}', or run models of different dtypes separately",
            )
    return common


def check_objects(spec: Spec, given: Mapping[str, LoadedModel], remembered: Mapping[str, str]) -> None:
    """Check that every model of a run that was an object is given again.

    Args:
        spec: The settings of the run.
        given: The objects of this request, by name.
        remembered: The classes of the run's objects, by name, from run.json.

    Raises:
        UsageError: One is missing.
    """
    for name in spec.models:
        if name in remembered and name not in given:
            raise UsageError(
                f"the run's model '{name}' is an object of the class {remembered[name]}, which cannot be loaded again by a name or folder",
                "pass it to tokenbench.run again, as a tokenbench.LoadedModel of the same name",
            )
