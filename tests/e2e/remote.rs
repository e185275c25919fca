//! Programs behind one `ssh -L`: the broker sees sshd, and takes each connection for a caller of its own.

use cardbroker_client::{Client, Endpoint};
use cardbroker_core::slot::Protocol;
use cardbroker_tests::harness::{
    run::{cardbroker, run},
    sshd::Forward,
};

use crate::world::{PROTECTED, Stage, VERIFY, answers, tell, unit};

#[test]
fn programs_behind_one_ssh_forward_share_no_verified_pin() -> anyhow::Result<()> {
    tell(async {
        let stage = Stage::simulated(Protocol::T1).await?;
        let forward = Forward::start(&stage.broker.socket())?;
        let client = async || Client::connect(Endpoint::Unix(forward.socket())).await;
        let (first, second) = (client().await?, client().await?);
        let (one, other) = (first.broker().await?.caller, second.broker().await?.caller);
        assert_eq!(one.process_id, other.process_id, "one sshd");
        assert!(one.process_id.is_some() && one.is_connection && other.is_connection, "{one:?} {other:?}");

        let own = unit(&first, stage.reader, &[VERIFY, PROTECTED]).send().await?;
        assert!(answers(&own)[1].ends_with("9000"), "{own:?}");
        let refused = unit(&second, stage.reader, &[PROTECTED]).send().await?;
        assert_eq!((answers(&refused), refused.was_reset), (vec!["6982".into()], true));
        assert_eq!(answers(&unit(&first, stage.reader, &[PROTECTED]).send().await?), ["6982"]);

        let seen = run(&mut cardbroker(&format!("unix:{}", forward.socket().display()), &["broker"])?)?;
        assert!(seen.out.contains(", with turns and a group of its own\n"), "{seen:?}");
        assert!(stage.broker.settled_log().contains("executable=\"/usr/"), "the log names sshd");
        Ok(())
    })
}
