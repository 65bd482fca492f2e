//! The cyx server: accounts, encrypted tree, placement, nodes, jobs, events.
