"""An observer that writes one structured line per request."""
