//! Files of payouts that cannot be written, or are there already.

use std::os::unix::fs::symlink;

use super::*;

#[tokio::test]
async fn nothing_counts_as_paid_before_its_files_are_durable() {
    let test = server().await;
    let folder = test.folder().join("payouts");
    meter(&test, START + EPOCH).await;
    let due = || async { payouts(&mut test.app.db.read().await.unwrap(), None).await.unwrap() };
    let unpaid = due().await;
    assert_eq!(unpaid.len(), 3);
    let exporter = Exporter::new(folder.clone());
    let fails = async |what: &str| {
        assert!(settle_due(&test.app.db, &exporter).await.is_err(), "{what}");
        assert_eq!(due().await, unpaid, "{what}");
        let posted = "SELECT CAST(COUNT(*) AS BIGINT) FROM ledger_posting WHERE reason = 'paid'";
        assert_eq!(number(&test, posted).await, 0, "{what}");
    };
    std::fs::create_dir(&folder).unwrap();
    let (part, json) = (folder.join("epoch-00000001.part"), folder.join("epoch-00000001.json"));
    // One has no room, the other takes everything and keeps nothing, which it says when it is to be made durable.
    for device in ["/dev/full", "/dev/null"] {
        symlink(device, &part).unwrap();
        fails(device).await;
        std::fs::remove_file(&part).unwrap();
    }
    std::fs::create_dir(&json).unwrap();
    fails("of two files one can be written").await;
    std::fs::remove_dir(&json).unwrap();

    let total: u64 = unpaid.iter().map(|payout| payout.micros).sum();
    assert_eq!(settle_due(&test.app.db, &exporter).await.unwrap(), total);
    assert_eq!(due().await, []);
    assert_eq!(std::fs::read_to_string(folder.join("epoch-00000001.csv")).unwrap(), csv(&unpaid));
}

#[tokio::test]
async fn files_of_an_epoch_that_was_paid_before_a_restore_are_not_replaced() {
    let test = server().await;
    let folder = test.folder().join("payouts");
    meter(&test, START + 2 * EPOCH).await;
    let due = payouts(&mut test.app.db.read().await.unwrap(), None).await.unwrap();
    let micros = |epoch| due.iter().filter(|payout| payout.epoch == epoch).map(|payout| payout.micros).sum::<u64>();
    std::fs::create_dir(&folder).unwrap();
    let [old, fresh] = [1, 2].map(|epoch| folder.join(format!("epoch-{epoch:08}.csv")));
    std::fs::write(&old, "paid before").unwrap();
    let exporter = Exporter::new(folder.clone());
    let refused = settle_due(&test.app.db, &exporter).await.unwrap_err().to_string();
    assert!(refused.contains("epoch-00000001.csv") && refused.contains("pay only"), "{refused}");
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "paid before");
    assert!(!folder.join("epoch-00000001.json").exists(), "nothing of it is written");
    assert_eq!(statement(&test, id(1), 1).await.settled_ns, 0);
    // Later epochs do not wait for it.
    assert!(fresh.exists() && statement(&test, id(1), 2).await.settled_ns > 0 && micros(2) > 0);
    // Moved aside, it is paid; and what a server wrote that ended in between stands in nobody's way.
    std::fs::write(&old, csv(&due.iter().filter(|payout| payout.epoch == 1).cloned().collect::<Vec<_>>())).unwrap();
    assert_eq!(settle_due(&test.app.db, &exporter).await.unwrap(), micros(1));
    assert_eq!(findings(&test).await, [""; 0]);
}
