"""Models: what lies on this machine, what the hub says of one, and whose own code may run. Light: nothing is loaded."""

from engine.models.catalogue import Model, look, places, scan

__all__ = ["Model", "look", "places", "scan"]
