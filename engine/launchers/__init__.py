"""How a run is started."""

from engine.launchers.local import launch

__all__ = ["launch"]
