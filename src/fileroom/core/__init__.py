"""What every room shares: errors, identifiers, limits, settings, the clock. No I/O."""
