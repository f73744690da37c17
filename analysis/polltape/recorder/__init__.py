"""The helper process that the addon feeds: it redacts, spools, and turns spools into Parquet."""
