"""Records to text and back, exactly, without pickle.

A record is a frozen dataclass of kappaforge whose fields are plain values, tuples, mappings, arrays, crystals or other
records. Arrays keep every bit. On reading, JSON lists become tuples, as records hold no lists.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from kappaforge.errors import KappaforgeError

INLINE_BYTES = 16_384
"""Arrays up to this size stay in the text; larger ones go to the side and are named in it."""


class CodecError(KappaforgeError):
    """A value that a record may not hold, or a text that is no record of ours."""


def encode(value: Any, side: dict[str, np.ndarray] | None = None) -> Any:
    """Return `value` in JSON's types; arrays above `INLINE_BYTES` go into `side` where that is given."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _encode_array(value, side)
    if isinstance(value, list | tuple):
        return [encode(item, side) for item in value]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) and not key.startswith("__") for key in value):
            raise CodecError(f"a mapping in a record needs plain string keys, got {list(value)[:3]}")
        return {key: encode(item, side) for key, item in value.items()}
    if isinstance(value, PurePath):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type) and type(value).__module__.startswith("kappaforge."):
        record = {field.name: encode(getattr(value, field.name), side) for field in fields(value)}
        return {"__record__": f"{type(value).__module__}:{type(value).__qualname__}", **record}
    raise CodecError(f"a record cannot hold a {type(value).__module__}.{type(value).__qualname__}")


def _encode_array(array: np.ndarray, side: dict[str, np.ndarray] | None) -> dict[str, Any]:
    if array.dtype.kind not in "biufc":
        raise CodecError(f"an array in a record must be numeric, got dtype {array.dtype}")
    if side is not None and array.nbytes > INLINE_BYTES:
        name = f"a{len(side)}"
        side[name] = array
        return {"__side__": name}
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    text = base64.b64encode(little.tobytes()).decode()
    return {"__array__": text, "dtype": little.dtype.str, "shape": list(array.shape)}


def decode(value: Any, side: Mapping[str, np.ndarray] | None = None) -> Any:
    """Invert `encode`."""
    if isinstance(value, list):
        return tuple(decode(item, side) for item in value)
    if not isinstance(value, dict):
        return value
    if "__array__" in value:
        flat = np.frombuffer(base64.b64decode(value["__array__"]), dtype=np.dtype(value["dtype"]))
        return flat.reshape(value["shape"]).copy()
    if "__side__" in value:
        return (side or {})[value["__side__"]]
    if "__record__" in value:
        contents = {key: decode(item, side) for key, item in value.items() if key != "__record__"}
        kind = _record_class(value["__record__"])
        try:
            return kind(**contents)
        except TypeError:  # fields that were added or taken away since
            raise CodecError(f"this version of kappaforge has other fields in record {value['__record__']!r}") from None
    return {key: decode(item, side) for key, item in value.items()}


def _record_class(path: str) -> type:
    module_name, _, class_name = path.partition(":")
    if not module_name.startswith("kappaforge."):
        raise CodecError(f"{path!r} is not a record of kappaforge; the store was not written by it")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError):
        raise CodecError(f"this version of kappaforge has no record {path!r}") from None
    if not (isinstance(found, type) and is_dataclass(found)):
        raise CodecError(f"{path!r} is not a record of kappaforge")
    return found


def task_key(step: str, version: int, arguments: Any, model_digest: str = "") -> str:
    """Hash of all that decides a task's result: the step and its version, settings, inputs, the model behind it."""
    text = json.dumps([step, version, encode(arguments), model_digest], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
