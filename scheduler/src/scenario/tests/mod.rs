//! Tests of the format and of what is checked.
