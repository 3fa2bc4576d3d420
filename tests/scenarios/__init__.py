"""What users of Lambda emulators suffer from, each pain as a rule that this one keeps; against a running gateway."""
