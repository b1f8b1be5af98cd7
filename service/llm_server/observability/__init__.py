"""Logs, metrics and traces. Imported by the wiring alone: no logic depends on being observed."""
