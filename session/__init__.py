"""One session with Spatius: the attempt, the SDK, what its errors mean."""
