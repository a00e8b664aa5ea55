"""Every setting once: the schema of a run and everything that is made from it."""

from engine.config.fields import AUTO, GROUPS, SettingInfo
from engine.config.parse import check, parse
from engine.config.schema import RunConfig, settings

__all__ = ["AUTO", "GROUPS", "RunConfig", "SettingInfo", "check", "parse", "settings"]
