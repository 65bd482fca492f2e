//! Grants, receipts, keep-lists, deletion orders and traffic orders: nobody's signature is ours, so nothing foreign may pass.
#![no_main]

use cyx_core::deletion::DeletionOrder;
use cyx_core::grant::Grant;
use cyx_core::ids::{GrantId, NodeId};
use cyx_core::keeplist::KeepList;
use cyx_core::order::{Order, Terms};
use cyx_core::receipt::Receipt;
use libfuzzer_sys::fuzz_target;

/// Of no known private key.
const KEY: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72,
    0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

fuzz_target!(|data: &[u8]| {
    let node = NodeId([0; 16]);
    assert!(Grant::verify(data, |_| Some(KEY), node, 1_000).is_err());
    let _ = Grant::read_unchecked(data);
    assert!(Receipt::verify(data, &KEY).is_err());
    let _ = Receipt::read_unchecked(data);
    assert!(DeletionOrder::verify(data, |_| Some(KEY), node, 1_000).is_err());
    if let Ok(order) = Order::read_unchecked(data) {
        let terms = Terms { node: order.node, grant: order.grant, session_key: KEY, allowance: u64::MAX };
        assert!(Order::verify(data, &terms).is_err());
    }
    let elsewhere = Terms { node, grant: GrantId([0; 16]), session_key: KEY, allowance: 0 };
    assert!(Order::verify(data, &elsewhere).is_err());
    let (list, ids) = data.split_at(data.len().min(200));
    assert!(KeepList::verify(list, ids, |_| Some(KEY), node).is_err());
});
