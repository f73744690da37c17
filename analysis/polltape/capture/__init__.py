"""The store: redaction, the spool, Parquet files, coverage, reading them back; other formats in and out.

Imports nothing of the package but ``exchange`` and ``errors``.
"""
