//! A DNS query over UDP: NOERROR, and a record that is as expected.

use domain::{
    base::{Message, MessageBuilder, Name, Rtype, iana::Rcode},
    rdata::AllRecordData,
};

use super::{
    clients::Clients,
    stream::{Ran, failed},
    udp::{self, LONGEST},
};
use crate::{
    health::{
        advice::{Advice, shown},
        outcome::{Failure, Outcome, Phase},
        probing::Progress,
        targets::Target,
    },
    model::probe::{Dns, RecordType},
};

/// A query, and what one of the answers must be.
#[derive(Debug)]
pub(super) struct Query {
    /// With an id that each run replaces.
    message: Vec<u8>,
    record: Rtype,
    expect: Vec<String>,
}

impl Query {
    /// Prepares it; says what can't be.
    pub(super) fn new(dns: Dns) -> Result<Self, String> {
        let record = rtype(dns.record);
        let name: Name<Vec<u8>> = dns.query.parse().map_err(|_| dns.query.clone())?;
        let mut message = MessageBuilder::new_vec();
        message.header_mut().set_rd(true);
        let mut message = message.question();
        let pushed = message.push((&name, record));
        pushed.map_err(|error| error.to_string())?;
        Ok(Self {
            message: message.finish(),
            record,
            expect: dns.expect.iter().map(|data| comparable(data)).collect(),
        })
    }

    pub(super) async fn run(&self, target: Target, clients: &Clients, progress: &Progress) -> Ran {
        let socket = udp::socket(target, clients, progress).await?;
        let outcome = |error| failed(&error, Phase::Waiting);
        let query = self.with_id(getrandom::u32().unwrap_or_default().to_be_bytes());
        socket.send(query.as_slice()).await.map_err(outcome)?;
        loop {
            let mut answer = Vec::with_capacity(LONGEST);
            socket.recv_buf(&mut answer).await.map_err(outcome)?;
            // What is no answer to this question may be one to an earlier one.
            if let Ok(answer) = Message::from_octets(answer)
                && answer.is_answer(&query)
            {
                return self.judge(&answer);
            }
        }
    }

    fn with_id(&self, [first, second, ..]: [u8; 4]) -> Message<Vec<u8>> {
        let mut octets = self.message.clone();
        // A message has a header of 12 octets, the id first.
        octets[..2].copy_from_slice(&[first, second]);
        Message::from_octets(octets).unwrap_or_else(|_| MessageBuilder::new_vec().into_message())
    }

    fn judge(&self, answer: &Message<Vec<u8>>) -> Ran {
        let rcode = answer.header().rcode();
        if rcode != Rcode::NOERROR {
            return Err(Outcome::Failed(Failure::Rcode(rcode.to_string())));
        }
        let malformed =
            |error: &dyn std::fmt::Display| Outcome::Failed(Failure::Malformed(error.to_string()));
        let mut found = Vec::new();
        for record in answer.answer().map_err(|error| malformed(&error))? {
            let record = record.map_err(|error| malformed(&error))?;
            if record.rtype() != self.record {
                continue;
            }
            let record = record.into_any_record::<AllRecordData<_, _>>();
            let record = record.map_err(|error| malformed(&error))?;
            found.push(comparable(&record.data().to_string()));
        }
        let fits = |data: &String| self.expect.is_empty() || self.expect.contains(data);
        if found.iter().any(fits) {
            return Ok(Advice::NONE);
        }
        let words = match (found.first(), answer.header().tc()) {
            (Some(first), _) => format!("{} {}, which is not expected", self.record, shown(first)),
            (None, true) => format!("no {} record before it was cut off", self.record),
            (None, false) => format!("no {} record", self.record),
        };
        Err(Outcome::Failed(Failure::NoRecord(words)))
    }
}

/// Names compare without case, and without the dot at their end; texts without their quotes.
fn comparable(data: &str) -> String {
    let words = data.split_whitespace().map(|word| {
        let word = word.trim_matches('"');
        word.strip_suffix('.').unwrap_or(word).to_ascii_lowercase()
    });
    words.collect::<Vec<_>>().join(" ")
}

fn rtype(record: RecordType) -> Rtype {
    match record {
        RecordType::A => Rtype::A,
        RecordType::Aaaa => Rtype::AAAA,
        RecordType::Cname => Rtype::CNAME,
        RecordType::Mx => Rtype::MX,
        RecordType::Ns => Rtype::NS,
        RecordType::Ptr => Rtype::PTR,
        RecordType::Soa => Rtype::SOA,
        RecordType::Srv => Rtype::SRV,
        RecordType::Txt => Rtype::TXT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn query(record: RecordType, expect: &[&str]) -> Query {
        let expect = expect.iter().map(|text| (*text).to_owned()).collect();
        let query = "www.example.com".to_owned();
        Query::new(Dns {
            query,
            record,
            expect,
        })
        .unwrap()
    }

    #[test]
    fn names_and_texts_compare_as_people_write_them() {
        for (found, expected) in [
            ("Mail.Example.COM.", "mail.example.com"),
            ("10 mail.example.com.", "10 Mail.example.com"),
            ("\"v=spf1 -all\"", "v=spf1 -all"),
        ] {
            assert_eq!(comparable(found), comparable(expected));
        }
    }

    #[test]
    fn a_query_is_one_of_its_kind() {
        let message = query(RecordType::Aaaa, &[]).with_id([7, 9, 0, 0]);
        let question = message.sole_question().unwrap();
        assert_eq!(question.qname().to_string(), "www.example.com");
        assert_eq!(question.qtype(), Rtype::AAAA);
        assert_eq!(
            (message.header().id(), message.header().rd()),
            (0x0709, true)
        );
    }

    proptest! {
        #[test]
        fn any_answer(bytes in prop::collection::vec(any::<u8>(), 12..120), txt: bool) {
            let record = if txt { RecordType::Txt } else { RecordType::A };
            let _ = query(record, &["x"]).judge(&Message::from_octets(bytes).unwrap());
        }
    }
}
