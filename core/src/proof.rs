//! Merkle proofs of chunk ranges.
