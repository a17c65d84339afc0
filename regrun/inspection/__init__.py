"""What `regrun inspect` says: what acts on every parameter and why, and the update in symbols."""
