"""SQL text in, what it would do out: effects, relations, flags and output columns, on the grammar of PostgreSQL itself."""
