"""The console: pages for the people who run the archive and look into it. Rendered here, with a little script on top."""
