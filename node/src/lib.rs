//! The cyx storage node: chunk store, grants, receipts, registration.
