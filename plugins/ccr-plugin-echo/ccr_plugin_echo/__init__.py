"""A small deterministic model inside the router: works with no key and no network."""
