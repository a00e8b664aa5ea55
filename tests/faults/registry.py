"""All faults by name, with the size of the full table."""

from __future__ import annotations

from tests.faults import app_loss, disk, endings, forged, launch_loss, queued, removal, stream, worker_kill
from tests.faults.trial import Fault, each

FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault("app-loss", 200, each("app-loss", app_loss.trial), limit=120, training=True),
        Fault("launch-loss", 100, each("launch-loss", launch_loss.trial), limit=90),
        Fault("worker-kill", 200, each("worker-kill", worker_kill.trial), limit=150, training=True),
        Fault("endings", 12 * 20, each("endings", endings.trial), limit=120),
        Fault("stall", 20, each("stall", endings.stall_trial), limit=120),
        Fault("forged", 10_000, forged.do, batch=500, limit=300),
        Fault("disk", 15 * 6, each("disk", disk.trial), limit=150, training=True),
        Fault("queue", 20, queued.do, batch=20, limit=580, training=True),
        Fault("queue-quick", 10, queued.quick, batch=10, limit=150),
        Fault("removal", 10_000, removal.do, batch=1000, limit=300),
        Fault("stream", stream.TOTAL, stream.do, batch=stream.BATCH, limit=300),
    )
}
