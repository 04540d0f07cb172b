"""What may be changed in an object on its way to a destination: attributes, character set, shape. No I/O."""
