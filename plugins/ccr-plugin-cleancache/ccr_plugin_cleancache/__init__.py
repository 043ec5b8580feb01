"""A transformer that removes prompt-cache marks."""
