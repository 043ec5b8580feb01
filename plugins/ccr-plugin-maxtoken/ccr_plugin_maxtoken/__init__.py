"""A transformer that lowers max_tokens to what a model accepts."""
