//! Models of the record under loom.
