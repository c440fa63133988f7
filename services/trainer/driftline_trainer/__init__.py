"""Trains, checks and publishes models."""
