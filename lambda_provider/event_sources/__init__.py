"""What event source mappings do with the records of their sources. Mappings as resources are in `operations`."""
