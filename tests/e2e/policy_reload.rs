//! New rules: their effect on sessions, waiting requests, outcomes and watches.

use cardbroker_client::{CardReset, Client, ConnectOptions, Delivery, Disposition, ErrorReason, RevocationCause, hex};

use crate::{
    policy::{HIDE, NO_SESSIONS, OPEN, audit, broker, reload, session},
    world::{COUNT, VERIFY, arrived, tell, unit, wait_until},
};

#[test]
fn new_rules_end_a_session_and_the_next_caller_runs() -> anyhow::Result<()> {
    tell(async {
        let mut broker = broker("").await?;
        let holder = session(&broker).await?;
        holder.transmit([hex::parse(VERIFY)?]).send().await?;
        let client = broker.client().await?;
        let waiting = arrived(&client, unit(&client, OPEN, &[COUNT])).await?;
        reload(&broker, NO_SESSIONS, "policy_reloaded").await?;
        let next = waiting.await?;
        assert!(next.was_reset, "the next caller finds the card as the session left it");
        let ended = holder.transmit([hex::parse(COUNT)?]).send().await.unwrap_err();
        assert_eq!((ended.reason(), ended.delivery()), (Some(ErrorReason::LeaseRevoked), Delivery::NotSent));
        let cause = ended.failure().and_then(|failure| failure.cause);
        assert_eq!(cause, Some(RevocationCause::RulesChanged), "{ended:?}");
        let records = audit(&broker, "session_ended_by_broker");
        assert_eq!((&records[0]["reason"], &records[0]["cause"]), (&"LEASE_REVOKED".into(), &"RULES_CHANGED".into()));
        let refused = client.open_session(OPEN).open().await.unwrap_err();
        assert_eq!(refused.reason(), Some(ErrorReason::Denied));
        reload(&broker, "", "policy_reloaded").await?;
        session(&broker).await?.close().await?;
        assert!(broker.stop()?.success());
        Ok(())
    })
}

#[test]
fn new_rules_apply_to_waiting_requests() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("").await?;
        let holder = session(&broker).await?;
        let client = broker.client().await?;
        let unit = arrived(&client, unit(&client, OPEN, &[COUNT])).await?;
        reload(
            &broker,
            "rule = [{ name = 'no units', principals = ['self'], deny = ['transmit'] }]",
            "policy_reloaded",
        )
        .await?;
        // The session that is open may go on.
        assert_eq!(holder.transmit([hex::parse(COUNT)?]).send().await?.results[0].data[..], [0, 0, 0, 1]);
        holder.close().await?;
        let denied = unit.await.unwrap_err();
        assert_eq!((denied.reason(), denied.delivery()), (Some(ErrorReason::Denied), Delivery::NotSent));
        Ok(())
    })
}

#[test]
fn a_session_needs_all_its_permissions_under_new_rules() -> anyhow::Result<()> {
    tell(async {
        for (denied, outlives) in
            [("see", false), ("shared_group", false), ("reset", false), ("leave", false), ("watch", true)]
        {
            let broker = broker("").await?;
            let options = ConnectOptions { group: Some("key".into()), ..ConnectOptions::default() };
            let client = Client::connect_with(broker.endpoint().parse()?, options).await?;
            let session =
                client.open_session(OPEN).reset_before(CardReset::Warm).disposition(Disposition::Leave).open().await?;
            let rules = format!("rule = [{{ name = 'new', principals = ['self'], deny = ['{denied}'] }}]");
            reload(&broker, &rules, "policy_reloaded").await?;
            let answer = session.transmit([hex::parse(COUNT)?]).send().await;
            assert_eq!(answer.is_ok(), outlives, "{denied}: {answer:?}");
        }
        Ok(())
    })
}

#[test]
fn a_kept_outcome_needs_the_current_permission() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("").await?;
        let client = broker.client().await?;
        let ask = || unit(&client, OPEN, &[COUNT]).request_id([7; 16]).send();
        ask().await?;
        assert!(ask().await?.replayed);
        for (denied, reason) in [("see", ErrorReason::ReaderNotFound), ("transmit", ErrorReason::Denied)] {
            let rules = format!("rule = [{{ name = 'new', principals = ['self'], deny = ['{denied}'] }}]");
            reload(&broker, &rules, "policy_reloaded").await?;
            assert_eq!(ask().await.unwrap_err().reason(), Some(reason));
        }
        reload(&broker, "", "policy_reloaded").await?;
        assert!(ask().await?.replayed);
        Ok(())
    })
}

#[test]
fn a_watcher_sees_readers_come_and_go_with_the_rules() -> anyhow::Result<()> {
    tell(async {
        let broker = broker("").await?;
        let mut watch = broker.client().await?.watch();
        wait_until(&mut watch, |watch| watch.readers().len() == 2).await?;
        reload(&broker, HIDE, "policy_reloaded").await?;
        wait_until(&mut watch, |watch| watch.readers().keys().eq([OPEN])).await?;
        reload(&broker, "", "policy_reloaded").await?;
        wait_until(&mut watch, |watch| watch.readers().len() == 2).await?;
        Ok(())
    })
}

#[test]
fn an_invalid_new_file_leaves_the_old_rules_in_force() -> anyhow::Result<()> {
    tell(async {
        let broker = broker(NO_SESSIONS).await?;
        for broken in ["rule = [", "rule = [{ name = 'x', principals = ['user:no such user'], allow = ['all'] }]"] {
            reload(&broker, broken, "policy_reload_refused").await?;
            let refused = broker.client().await?.open_session(OPEN).open().await.unwrap_err();
            assert_eq!(refused.reason(), Some(ErrorReason::Denied));
        }
        let problem = audit(&broker, "policy_reload_refused")[1]["problem"].clone();
        assert!(
            problem.as_str().is_some_and(|text| text.contains("cardbrokerd.toml:1:") && text.contains("no such user"))
        );
        // Other changed settings take effect at the next start.
        reload(&broker, "listen.max_connections = 1", "policy_reloaded").await?;
        assert!(broker.settled_log().contains("take effect at the next start"));
        let clients = (session(&broker).await?, broker.client().await?);
        assert_eq!(clients.1.readers().await?.len(), 2);
        Ok(())
    })
}
