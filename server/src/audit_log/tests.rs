use std::net::Ipv4Addr;

use cyx_core::ids::Random as _;

use super::*;
use crate::test_support::TestApp;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
const EVERYTHING: Page = Page { since_ns: 0, after: 0, limit: PAGE_MAX };

async fn write(test: &TestApp, event: Event) {
    let done = test.app.db.write::<(), DbError, _>(move |c| {
        let event = event.clone();
        Box::pin(async move { record(c, event).await })
    });
    done.await.unwrap();
}

async fn change(test: &TestApp, text: &'static str) {
    let done = test.app.db.write::<(), DbError, _>(move |c| {
        Box::pin(async move {
            sqlx::query(text).execute(c).await?;
            Ok(())
        })
    });
    done.await.unwrap();
}

async fn verdict(test: &TestApp) -> Verdict {
    check(&mut test.app.db.read().await.unwrap()).await.unwrap()
}

/// Two accounts with some events in turn.
async fn filled() -> (TestApp, AccountId, AccountId) {
    let test = TestApp::new().await;
    let (ada, grace) = (AccountId::random(), AccountId::random());
    for account in [ada, grace] {
        crate::nodes::testing::account(&test, account, 1 << 30).await;
    }
    for _ in 0..2 {
        write(&test, Event::owner(ada, Action::Login, HERE).with("a laptop")).await;
        write(&test, Event::anyone(Some(grace), Action::Password, HERE).refused()).await;
        write(&test, Event::anyone(None, Action::Password, HERE).refused()).await;
    }
    (test, ada, grace)
}

#[tokio::test]
async fn everybody_reads_what_is_about_them_and_nothing_else() {
    let (test, ada, grace) = filled().await;
    let mut tx = test.app.db.read().await.unwrap();
    let entries = of_account(&mut tx, ada, EVERYTHING).await.unwrap();
    let seen: Vec<_> =
        entries.iter().map(|e| (e.seq, e.action.as_str(), e.outcome.as_str(), e.detail.as_str())).collect();
    assert_eq!(seen, [(1, "login", "ok", "a laptop"), (4, "login", "ok", "a laptop")]);
    assert_eq!(entries[0].address, "192.0.2.7");
    let entries = of_account(&mut tx, grace, Page { after: 2, ..EVERYTHING }).await.unwrap();
    assert_eq!(entries.iter().map(|e| (e.seq, e.outcome.as_str())).collect::<Vec<_>>(), [(5, "refused")]);
    assert!(of_account(&mut tx, AccountId::random(), EVERYTHING).await.unwrap().is_empty());

    let entries = all(&mut tx, EVERYTHING).await.unwrap();
    assert_eq!(entries.iter().map(|e| e.account).collect::<Vec<_>>()[..3], [Some(ada), Some(grace), None]);
    assert_eq!((entries[2].subject, entries[2].address.as_str()), (NOBODY, ""));
}

#[tokio::test]
async fn a_changed_or_missing_row_shows() {
    for (fault, at) in [
        ("UPDATE audit SET outcome = 'ok' WHERE seq = 2", 2),
        ("UPDATE audit SET time_ns = time_ns + 1 WHERE seq = 6", 6),
        ("DELETE FROM audit WHERE seq = 3", 3),
        ("DELETE FROM audit WHERE seq = 6", 6),
        ("DELETE FROM audit WHERE seq = 1", 1),
    ] {
        let (test, ..) = filled().await;
        let intact = verdict(&test).await;
        assert_eq!((intact.entries, intact.first, intact.last, intact.broken_at), (6, 1, 6, None));
        change(&test, fault).await;
        assert_eq!(verdict(&test).await.broken_at, Some(at), "{fault}");
    }
}

#[tokio::test]
async fn an_erased_account_leaves_a_chain_that_holds_about_nobody() {
    let (test, ada, _) = filled().await;
    let before = all(&mut test.app.db.read().await.unwrap(), EVERYTHING).await.unwrap();
    let done = test.app.db.write::<(), DbError, _>(move |c| {
        Box::pin(async move {
            sqlx::query("DELETE FROM account WHERE id = $1").bind(ada.to_vec()).execute(c).await?;
            Ok(())
        })
    });
    done.await.unwrap();
    let after = all(&mut test.app.db.read().await.unwrap(), EVERYTHING).await.unwrap();
    assert_eq!(after.len(), before.len());
    assert_eq!((after[0].account, after[0].address.as_str(), after[0].detail.as_str()), (None, "", ""));
    assert_eq!(after[0].subject, before[0].subject);
    assert_eq!(verdict(&test).await.broken_at, None);
}

#[tokio::test]
async fn old_rows_go_from_the_front_and_the_rest_stays_provable() {
    let (test, ..) = filled().await;
    let entries = all(&mut test.app.db.read().await.unwrap(), EVERYTHING).await.unwrap();
    let cut = entries[3].time_ns;
    let done = test.app.db.write::<(), DbError, _>(move |c| Box::pin(prune(c, cut)));
    done.await.unwrap();
    let found = verdict(&test).await;
    assert_eq!((found.first, found.entries, found.broken_at), (4, 3, None));
    change(&test, "DELETE FROM audit WHERE seq = 4").await;
    assert_eq!(verdict(&test).await.broken_at, Some(4));
}
