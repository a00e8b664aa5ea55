"""What a model would read of the training data: rows as tokens, and how long they are."""
