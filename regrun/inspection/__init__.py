"""What `regrun inspect` says: what acts on each parameter and why, and the update in symbols."""
