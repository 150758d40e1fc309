"""Settings: the list of what can be set, and how it resolves: defaults <- TOML file <- environment <- flags.

What may enter: names, types, defaults, help and checks of single values. Help reads them, so nothing here loads torch.
Never: tables, or what a setting does.
"""
