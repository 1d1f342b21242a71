//! A [`Report`] as tables for a person.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};

use super::Report;

/// Failures that are worth a line each.
const SHOWN_FAILURES: usize = 5;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures: Vec<String> = self.failures().collect();
        let sent = self.answers.len();
        writeln!(
            f,
            "\nRequests by backend, against the share that its weight asks for:"
        )?;
        writeln!(f, "{}", self.share_table())?;
        writeln!(f, "{sent} requests, {} failures\n", failures.len())?;
        for failure in failures.iter().take(SHOWN_FAILURES) {
            writeln!(f, "  {failure}")?;
        }
        writeln!(
            f,
            "New connections as counted by clients, access logs and /metrics:"
        )?;
        writeln!(f, "{}", self.count_table())?;
        match &self.observed.metrics {
            Ok(_) => writeln!(f, "\nInterfaces in /metrics:\n{}", self.interface_table()),
            Err(error) => writeln!(f, "\nNo counters: {error}"),
        }
    }
}

impl Report {
    fn share_table(&self) -> Table {
        let head = [
            "service", "mode", "family", "backend", "weight", "share", "expected", "requests", "σ",
        ];
        let mut table = table(&head, 4);
        for share in self.shares() {
            table.add_row([
                share.service.name.to_owned(),
                share.service.mode.name().to_owned(),
                share.family.to_string(),
                share.backend.name.to_owned(),
                share.backend.weight.to_string(),
                format!("{:.1} %", 100.0 * share.service.share(share.backend)),
                format!("{:.1}", share.expected),
                share.answered.to_string(),
                format!("{:+.1}", share.deviation),
            ]);
        }
        table
    }

    fn count_table(&self) -> Table {
        let head = [
            "service",
            "backend",
            "clients",
            "nginx",
            "/metrics",
            "packets in",
            "out",
            "bytes in",
            "out",
        ];
        let mut table = table(&head, 2);
        for count in self.counts() {
            let sum = |name: &str, direction| {
                let labels = [
                    ("pool", count.service.name),
                    ("backend", count.backend.name),
                    ("direction", direction),
                ];
                let metrics = self.observed.metrics.as_ref().ok();
                shown(metrics.and_then(|metrics| metrics.sum(name, &labels)))
            };
            table.add_row([
                count.service.name.to_owned(),
                count.backend.name.to_owned(),
                count.clients.to_string(),
                count.nginx.to_string(),
                shown(count.metrics),
                sum("sluice_backend_packets_total", "in"),
                sum("sluice_backend_packets_total", "out"),
                sum("sluice_backend_bytes_total", "in"),
                sum("sluice_backend_bytes_total", "out"),
            ]);
        }
        table
    }

    /// What the interfaces counted; reasons that never came up are left out.
    fn interface_table(&self) -> Table {
        let mut table = table(&["interface", "packets", "reason", "count"], 3);
        for verdict in ["received", "forwarded", "passed", "dropped"] {
            let name = format!("sluice_interface_{verdict}_packets_total");
            let samples = self
                .observed
                .metrics
                .iter()
                .flat_map(|metrics| metrics.named(&name));
            for sample in samples.filter(|sample| sample.value > 0.0) {
                let label = |key| sample.labels.get(key).cloned().unwrap_or_default();
                let count = sample.value.to_string();
                table.add_row([
                    label("interface"),
                    verdict.to_owned(),
                    label("reason"),
                    count,
                ]);
            }
        }
        table
    }
}

fn shown(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| value.to_string())
}

/// A table whose columns from `numbers` on are numbers.
fn table(head: &[&str], numbers: usize) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_header(head);
    for column in table.column_iter_mut().skip(numbers) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
