//! Computing a statement again from its facts, as an operator who trusts nobody does.

use std::collections::HashSet;

use cyx_core::earnings::{Pay, Work, held};
use cyx_core::ids::NodeId;
use cyx_core::order::{Order, Terms};
use cyx_core::units::NODE_RESERVED;

use super::nodes::{Lines, PaidOrder, Statement};

/// One sentence for each contradiction between a statement and its facts; none if it can be computed from them.
#[must_use]
pub fn check(node: NodeId, statement: &Statement, lines: &Lines) -> Vec<String> {
    let mut findings = Vec::new();
    let mut found = Work::default();
    let mut end = statement.begins;
    for period in &lines.periods {
        let seconds = period.ends.saturating_sub(period.begins);
        if period.begins < end || period.ends > statement.ends || period.reserved_seconds > seconds {
            findings.push(format!(
                "the period that begins at {} overlaps another or lies outside its epoch",
                period.begins
            ));
        }
        end = end.max(period.ends);
        found = found.and(Work {
            user_byte_seconds: period.byte_seconds.into(),
            reserved_byte_seconds: u128::from(NODE_RESERVED) * u128::from(period.reserved_seconds),
            traffic_bytes: 0,
        });
    }
    let mut grants = HashSet::new();
    for order in &lines.orders {
        if let Err(why) = check_order(node, order) {
            findings.push(format!("the order under grant {} {why}", order.grant));
        }
        if !grants.insert(order.grant) {
            findings.push(format!("there are two orders under grant {}", order.grant));
        }
        found = found.and(Work { traffic_bytes: order.traffic.saturating_sub(order.paid_before), ..Work::default() });
    }
    match statement.work() {
        Ok(stated) if stated == found => {}
        Ok(stated) => findings.push(format!(
            "the facts are {} byte-seconds, {} of the reserve and {} bytes of traffic; the statement says {}, {} and {}",
            found.user_byte_seconds,
            found.reserved_byte_seconds,
            found.traffic_bytes,
            stated.user_byte_seconds,
            stated.reserved_byte_seconds,
            stated.traffic_bytes,
        )),
        Err(_) => findings.push("the statement has no numbers".to_owned()),
    }
    let Pay { storage, traffic, operator, platform } = found.pay(statement.rates());
    let stated =
        (statement.storage_micros, statement.traffic_micros, statement.operator_micros, statement.platform_micros);
    if (storage, traffic, operator, platform) != stated {
        findings.push(format!(
            "by its rates that is {storage} for storage and {traffic} for traffic, {operator} of it for the operator; the statement says {}, \
             {} and {}",
            stated.0, stated.1, stated.2
        ));
    }
    if statement.held_micros > held(operator, statement.hold_percent) {
        findings.push("more is held than was agreed".to_owned());
    }
    findings
}

fn check_order(node: NodeId, line: &PaidOrder) -> Result<(), &'static str> {
    let session_key = line.session_key[..].try_into().map_err(|_| "names no key")?;
    let terms = Terms { node, grant: line.grant, session_key, allowance: line.allowance };
    let order = Order::verify(&line.order, &terms).map_err(|_| "is not signed by its client")?;
    if order.traffic != line.traffic || line.paid_before > line.traffic {
        return Err("is for other traffic than it is paid for");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::nodes::Period;
    use cyx_core::ids::GrantId;
    use ed25519_dalek::SigningKey;

    const NODE: NodeId = NodeId([1; 16]);

    fn order(grant: u8, before: u64, traffic: u64) -> PaidOrder {
        let key = SigningKey::from_bytes(&[grant; 32]);
        let grant = GrantId([grant; 16]);
        PaidOrder {
            grant,
            session_key: key.verifying_key().to_bytes().to_vec(),
            allowance: 1000,
            paid_before: before,
            traffic,
            order: Order { node: NODE, grant, traffic }.sign(&key),
        }
    }

    fn example() -> (Statement, Lines) {
        let period = |begins, ends, byte_seconds| Period {
            begins,
            ends,
            shards: 1,
            bytes: 5,
            byte_seconds,
            reserved_seconds: ends - begins,
        };
        let lines = Lines {
            periods: vec![period(100, 130, 1 << 60), period(150, 200, 1 << 61)],
            orders: vec![order(1, 0, 700), order(2, 300, 900)],
        };
        let work = Work {
            user_byte_seconds: (1 << 60) + (1 << 61),
            reserved_byte_seconds: u128::from(NODE_RESERVED) * 80,
            traffic_bytes: 1300,
        };
        let mut statement = Statement {
            epoch: 1,
            begins: 100,
            ends: 200,
            storage_rate: 1500,
            traffic_rate: 2_000_000_000,
            hold_percent: 10,
            user_byte_seconds: work.user_byte_seconds.to_string(),
            reserved_byte_seconds: work.reserved_byte_seconds.to_string(),
            traffic_bytes: work.traffic_bytes,
            storage_micros: 0,
            traffic_micros: 0,
            operator_micros: 0,
            platform_micros: 0,
            held_micros: 0,
            paid_at: None,
        };
        let pay = work.pay(statement.rates());
        (statement.storage_micros, statement.traffic_micros) = (pay.storage, pay.traffic);
        (statement.operator_micros, statement.platform_micros) = (pay.operator, pay.platform);
        statement.held_micros = held(pay.operator, 10);
        (statement, lines)
    }

    #[test]
    fn a_statement_that_follows_from_its_facts_is_in_order() {
        let (statement, lines) = example();
        assert!(statement.operator_micros > 0);
        assert_eq!(check(NODE, &statement, &lines), [""; 0]);
        assert!(!check(NodeId([2; 16]), &statement, &lines).is_empty(), "the orders are for another node");
    }

    #[test]
    fn every_change_is_noticed() {
        type Change = fn(&mut Statement, &mut Lines);
        let changes: [(&str, Change); 13] = [
            ("an order is missing", |_, lines| lines.orders.truncate(1)),
            ("an order is there twice", |_, lines| lines.orders.push(lines.orders[0].clone())),
            ("traffic is cut", |_, lines| lines.orders[0].traffic -= 1),
            ("traffic was paid before", |_, lines| lines.orders[0].paid_before += 1),
            ("more was paid before than there was", |_, lines| lines.orders[0].paid_before = 701),
            ("an order is forged", |_, lines| lines.orders[0].session_key = lines.orders[1].session_key.clone()),
            ("an order exceeds its grant", |_, lines| lines.orders[0].allowance = 699),
            ("a period is missing", |_, lines| lines.periods.truncate(1)),
            ("a period is longer than it is", |_, lines| lines.periods[0].ends = 160),
            ("bytes are cut", |_, lines| lines.periods[0].byte_seconds -= 1),
            ("pay is cut", |statement, _| statement.operator_micros -= 1),
            ("a rate is cut", |statement, _| statement.storage_rate -= 1),
            ("too much is held", |statement, _| statement.held_micros += 1),
        ];
        for (what, change) in changes {
            let (mut statement, mut lines) = example();
            change(&mut statement, &mut lines);
            assert!(!check(NODE, &statement, &lines).is_empty(), "{what}");
        }
    }
}
