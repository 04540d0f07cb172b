"""Where the bytes of objects live: a local folder or an object store, behind one interface."""
