"""Training without waste: samples laid end to end, adapters in one step with their layer, launches recorded once.

Each part stands alone and gives the same updates as the plain way; ``engine.worker.recipe`` decides which are used.
"""
