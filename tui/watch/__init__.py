"""Behind the live screen: a feed that reads a run in a thread, and the words and numbers made of it."""
