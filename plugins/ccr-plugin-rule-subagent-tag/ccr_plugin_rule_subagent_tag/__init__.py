"""The routing rule for the sub-agent tag in a prompt."""
