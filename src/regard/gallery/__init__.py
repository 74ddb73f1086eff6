"""Exact face search: half-precision codes scanned in memory, the best re-ranked on what PostgreSQL keeps."""
