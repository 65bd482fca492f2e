//! The engine of a cyx client: session, keyring, metadata calls, transfer, events.
