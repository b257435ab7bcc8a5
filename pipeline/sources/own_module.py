"""The user's own torch module: `package.module:factory` creates it, and a state dict provides its weights.

This is the only place that runs code from outside, because the user named it: the module is imported from the
current folder or the Python path, and the factory is called without arguments. The weights are still only read.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pipeline.support.announce import announce
from pipeline.support.errors import MissingDependency, PipelineError

if TYPE_CHECKING:
    from torch import nn


def make(spec: str) -> tuple[nn.Module, Path | None]:
    """Create the module with `package.module:factory`; returns it and the file that defines the factory.

    Raises PipelineError: own-module-not-found, own-module-failed; MissingDependency without torch.
    """
    try:
        from torch import nn
    except ImportError:
        raise MissingDependency("torch", "torch", "building your own module") from None
    name, _, attribute = spec.partition(":")
    if not name or not attribute or name.endswith(".py") or "/" in name:
        raise _not_found(spec, "it is not of the form package.module:factory", "Example: my_net:make_network.")
    announce(
        f"{spec}: the Python module {name} will be imported from the current folder or the Python path, and run"
    )
    here = str(Path.cwd())
    added = here not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        code = importlib.import_module(name)
        factory: Any = code
        for part in attribute.split("."):
            factory = getattr(factory, part)
        module = factory if isinstance(factory, nn.Module) else factory()
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise _not_found(
                spec, f"no Python module {error.name} was found", "Run the command in the folder that contains it."
            ) from None
        raise PipelineError(
            "own-module-failed",
            f"your code imports {error.name or 'a module'}, which is not installed here",
            subject=f"--architecture {spec}",
            remedy=f"Install it where the pipeline runs: {sys.executable} -m pip install {error.name or ''}",
        ) from error
    except AttributeError as error:
        if not hasattr(sys.modules.get(name), attribute.partition(".")[0]):
            raise _not_found(
                spec, f"{name} has no {attribute}", "Name a function or class that returns the network."
            ) from None
        raise _failed(spec, error) from error
    except Exception as error:
        raise _failed(spec, error) from error
    finally:
        if added and here in sys.path:
            sys.path.remove(here)
    if not isinstance(module, nn.Module):
        raise PipelineError(
            "own-module-failed",
            f"it returned a {type(module).__name__}, not a torch.nn.Module",
            subject=f"--architecture {spec}",
            remedy="The factory must return the network itself.",
        )
    file = getattr(code, "__file__", None)
    return module, Path(file) if file else None


def plain(module: nn.Module) -> nn.Module:
    """Remove weight norm, spectral norm and pruning from the module, in place: the reader bakes them into
    weights."""
    from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
    from torch.nn.utils.spectral_norm import SpectralNorm, SpectralNormLoadStateDictPreHook
    from torch.nn.utils.weight_norm import WeightNorm

    for part in module.modules():
        if parametrize.is_parametrized(part):
            for name in list(cast(Any, part.parametrizations)):
                parametrize.remove_parametrizations(part, name)
        for key, hook in list(part._forward_pre_hooks.items()):
            if isinstance(hook, SpectralNorm):
                remove_spectral_norm(part, hook.name)
                # torch wraps this one and then does not find it again.
                for loading, wrapped in list(part._load_state_dict_pre_hooks.items()):
                    if isinstance(getattr(wrapped, "hook", wrapped), SpectralNormLoadStateDictPreHook):
                        del part._load_state_dict_pre_hooks[loading]
            elif isinstance(hook, WeightNorm):
                remove_weight_norm(part, hook.name)
            elif isinstance(hook, prune.BasePruningMethod):
                hook.remove(part)
                del part._forward_pre_hooks[key]
    return module


def _not_found(spec: str, message: str, remedy: str) -> PipelineError:
    return PipelineError("own-module-not-found", message, subject=f"--architecture {spec}", remedy=remedy)


def _failed(spec: str, error: Exception) -> PipelineError:
    text = str(error).splitlines()[0] if str(error) else ""
    module, _, factory = spec.partition(":")
    trace = error.__traceback__
    called_wrong = isinstance(error, TypeError) and trace is not None and trace.tb_next is None
    return PipelineError(
        "own-module-failed",
        f"your code raised {type(error).__name__}: {text}",
        subject=f"--architecture {spec}",
        remedy="The factory is called without arguments, so all its parameters need default values."
        if called_wrong
        else f"Test it in the same folder: python -c 'import {module}; {module}.{factory}()'.",
    )
