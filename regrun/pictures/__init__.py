"""Pictures of stored runs, sweeps and studies: one class per kind of picture, one style for all."""
