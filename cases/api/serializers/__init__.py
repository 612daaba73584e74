"""The shapes of requests and answers. Output goes through them, so the schema tells the truth."""
