"""An offline token counter with byte-pair vocabularies."""
