"""The heavy rooms: everything that loads torch, transformers, TRL or PEFT lives below this package."""
