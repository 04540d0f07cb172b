"""De-identification by PS3.15 Annex E: datasets in, datasets out. No file, no socket, no clock."""
