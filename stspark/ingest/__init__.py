"""Raw files to cleaned rows: every input row ends as kept, rejected or an exact duplicate."""
