"""Manifests of recordings in; error rates, timings and their report out. Nothing here runs in a request."""
