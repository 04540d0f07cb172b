"""Demo studies: invented patients with phantoms drawn from mathematics, so that every page has something to show."""
