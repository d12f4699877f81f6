"""The page at `/`: its files in, answers with a strict policy out. Everything else it asks of the API."""
