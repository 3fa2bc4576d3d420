"""What executors that speak to a container engine have in common, whichever engine that is; no engine's SDK is needed here."""
