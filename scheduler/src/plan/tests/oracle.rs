//! A naive second implementation: it tries every way.
