"""The running process: its wiring, the loop, the watchdog, and what it shows over HTTP."""
