//! Pure building blocks that every cyx program shares.
//!
//! Nothing here does I/O, keeps state or is async. The client, the server and the nodes link this crate, so a
//! definition that they must agree on (an id, a byte layout, a signature, the erasure code) stands here once.
//!
//! | module | what it defines |
//! |---|---|
//! | [`ids`] | one type per identifier |
//! | [`units`] | sizes and limits |
//! | [`error`] | the stable error codes and what they mean over HTTP, gRPC and as an exit code |
//! | [`scheme`] | Reed–Solomon schemes (k, m), write quorum and the ladder of fall-backs |
//! | [`segment`] | geometry of a segment: which byte lies in which shard |
//! | [`erasure`] | the code itself: parity and reconstruction |
//! | [`chunk`] | chunk ids and hashes |
//! | [`proof`] | Merkle proofs of chunk ranges |
//! | [`extent`] | extents and the copy-on-write pages that hold them |
//! | [`commit`] | what a writer signs when it commits a version |
//! | [`writers`] | the list of keys whose commits count in a bucket |
//! | [`name`], [`inode`] | encrypted names and the kinds of what they lead to |
//! | [`sign`] | Ed25519 with a context for each purpose |
//! | [`grant`], [`receipt`], [`keeplist`], [`deletion`], [`exit`] | what the server and the nodes sign |
//! | [`order`] | what clients sign about their traffic |
//! | [`earnings`] | what operators are paid for, and how much |
//! | [`enrol`] | tokens that let a machine join, and how the server shows who it is |
//! | [`auth`] | password stretching and the authentication key |
//! | [`login_name`] | what user names and email addresses look like |
//! | [`wallet`] | addresses of wallets and the text that they sign to log in |
//! | [`wire`] | the little encoder and decoder behind every layout above |

pub mod auth;
pub mod chunk;
pub mod commit;
pub mod deletion;
pub mod earnings;
pub mod enrol;
pub mod erasure;
pub mod error;
pub mod exit;
pub mod extent;
pub mod grant;
pub mod ids;
pub mod inode;
pub mod keeplist;
pub mod login_name;
pub mod name;
pub mod order;
pub mod proof;
pub mod receipt;
pub mod scheme;
pub mod segment;
pub mod sign;
pub mod units;
pub mod wallet;
pub mod wire;
pub mod writers;
