"""The routing rule that takes Router.default."""
