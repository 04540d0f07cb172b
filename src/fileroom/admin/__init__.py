"""What the administrator configures: nodes."""
