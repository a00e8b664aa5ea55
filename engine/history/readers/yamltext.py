"""YAML of others: plain values only, no aliases (they multiply), no tags, so many bytes."""

from __future__ import annotations

import re
from typing import Any

MAX_BYTES = 256 * 1024
# A reader of nested values goes as deep as they do.
_DEEPEST = 50
_LINE = re.compile(r"^([A-Za-z_][\w.\-]*):[ \t]+([^\n#]+?)[ \t]*(?:#.*)?$", re.MULTILINE)


def loads(text: str) -> dict[str, Any]:
    """The mapping of a YAML text; of one that is damaged, what its plain lines say."""
    text = text[:MAX_BYTES]
    found = _parsed(text)
    return found if found is not None else {name: _plain(value) for name, value in _LINE.findall(text)}


def _parsed(text: str) -> dict[str, Any] | None:
    import yaml

    try:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        depth = 0
        for event in yaml.parse(text, loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > _DEEPEST:
                return None
        value = yaml.load(text, loader)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError, AttributeError):
        return None
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else None


def _plain(value: str) -> Any:
    value = value.strip().strip("'\"")
    return {"true": True, "false": False, "null": None, "~": None, "": None}.get(value.lower(), value)
