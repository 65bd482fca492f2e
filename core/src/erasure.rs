//! Reed–Solomon coding.
