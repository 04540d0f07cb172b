"""PostgreSQL: the embedded server, connections, the schema's migrations."""
