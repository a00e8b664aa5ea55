"""Going on with a run from a checkpoint.

A resumed run is the same training, continued: what a checkpoint holds (weights, optimizer, position in the data) wins
over a setting. So a setting that resuming would silently ignore is refused here; those that a person may well want to
change (more epochs, another learning rate) are carried out by ``engine.worker.resuming``.
"""

from engine.resume.planning import plan
from engine.resume.record import Change, ResumePlan
from engine.resume.starting import start

__all__ = ["Change", "ResumePlan", "plan", "start"]
