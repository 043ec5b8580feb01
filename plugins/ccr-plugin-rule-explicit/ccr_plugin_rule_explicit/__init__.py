"""The routing rule for a model named by the client: provider,model."""
