"""The stages, in order: calibrate, export, compare, report, gate. Each reads and writes a run directory."""
