//! Extent pages: whatever decodes encodes to the same bytes, and no tree of foreign pages upsets the readers.
#![no_main]

use cyx_core::extent::PageMap;

use cyx_core::extent::{BlobHeader, Page, PageId, check_new, tree};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = BlobHeader::from_bytes(data);
    let Ok(page) = Page::decode(data) else { return };
    assert_eq!(page.encode(), data, "a page has one encoding");
    let root = PageId::of(data);
    let pages = PageMap::from([(root, page)]);
    let _ = tree::extents_in(&pages, root, 0..u64::MAX);
    let _ = check_new(&pages, root, u64::MAX);
});
