"""Traces of single records, from the door to the blend, by OpenTelemetry's SDK, which is not imported where they are
off."""
