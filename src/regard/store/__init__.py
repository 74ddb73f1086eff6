"""Rows in PostgreSQL: the tables, their migrations, and one module of queries per kind of thing."""
