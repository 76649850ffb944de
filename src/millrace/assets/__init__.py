"""The asset model: ISA-95 hierarchy, one row a tag; loaded from YAML or CSV, changed while running."""
