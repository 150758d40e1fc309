"""Tables, formulas, configuration and run folders on disk."""
