"""The artefact of a line: bundle, manifest, card, pack, and the registry of versions."""
