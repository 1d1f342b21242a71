//! A connection; perhaps something sent, and something read. What nobody has asked for is closed with a
//! reset, as HAProxy does: else every run would leave a connection in TIME_WAIT here, and a server
//! that accepts slowly would find them in its queue one by one.

use tokio::io::AsyncWriteExt;

use super::{
    clients::Clients,
    stream::{self, Ran, contains, failed, read_until},
};
use crate::{
    health::{
        advice::{self, Advice, Said, shown},
        outcome::{Failure, Outcome, Phase},
        probing::Progress,
        targets::Target,
    },
    model::probe::{Payload, Tcp},
};

pub(super) async fn run(tcp: &Tcp, target: Target, clients: &Clients, progress: &Progress) -> Ran {
    let mut stream = stream::connect(target, clients, progress).await?;
    // Without it the connection is closed in order, which does as well.
    let _ = stream.set_zero_linger();
    progress.reached(Phase::Waiting);
    if let Some(Payload(bytes)) = &tcp.send {
        let sent = stream.write_all(bytes).await;
        sent.map_err(|error| failed(&error, Phase::Waiting))?;
    }
    if tcp.agent {
        let ended = |answer: &[u8]| answer.contains(&b'\n');
        return agent(&read_until(&mut stream, ended).await?);
    }
    let Some(Payload(expected)) = &tcp.expect else {
        return Ok(Advice::NONE);
    };
    let answer = read_until(&mut stream, |answer| contains(answer, expected)).await?;
    expect(&answer, expected).map(|()| Advice::NONE)
}

/// An answer must contain this.
pub(super) fn expect(answer: &[u8], expected: &[u8]) -> Result<(), Outcome> {
    if contains(answer, expected) {
        return Ok(());
    }
    let words = format!(
        "is {}, without {}",
        excerpt(answer),
        Payload(expected.to_vec())
    );
    Err(Outcome::Failed(Failure::Answer(words)))
}

/// The first bytes of an answer, for messages.
fn excerpt(answer: &[u8]) -> String {
    const SHOWN: usize = 40;
    match answer.get(..SHOWN) {
        Some(first) => format!("\"{}…\"", first.escape_ascii()),
        None => format!("\"{}\"", answer.escape_ascii()),
    }
}

/// What an agent says.
pub(super) fn agent(answer: &[u8]) -> Ran {
    let text = String::from_utf8_lossy(answer);
    match advice::read(&text) {
        Some(Said::Advice(advice)) => Ok(advice),
        Some(Said::Down(words)) => Err(Outcome::Failed(Failure::Agent(words))),
        None => {
            let words = format!("`{}`, which is no word of an agent", shown(&text));
            Err(Outcome::Failed(Failure::Malformed(words)))
        }
    }
}
