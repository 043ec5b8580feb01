"""The history of requests."""
