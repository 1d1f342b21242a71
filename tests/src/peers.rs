//! Servers that health checks meet beside nginx: HAProxy, etcd, dnsmasq, each with a configuration, a folder and a process
//! of its own, stopped with its owner.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{namespace::Namespace, process::Process};

/// HAProxy that answers HTTPS requests with 200 by itself, with the certificate and key in the PEM file; or with 500,
/// but only after `delay`.
pub fn haproxy(
    namespace: &Namespace,
    folder: &Path,
    listen: SocketAddr,
    pem: &Path,
    delay: Option<Duration>,
) -> Result<Process> {
    fs::create_dir_all(folder)?;
    let answer = match delay {
        None => "http-request return status 200".to_owned(),
        Some(delay) => format!(
            "timeout tarpit {}ms\n  http-request tarpit",
            delay.as_millis()
        ),
    };
    let text = format!(
        "global\n  ssl-default-bind-options ssl-min-ver TLSv1.2\ndefaults\n  mode http\n  timeout client 5s\n\
         frontend health\n  bind {listen} ssl crt {}\n  {answer}\n",
        pem.display()
    );
    let file = folder.join("haproxy.cfg");
    fs::write(&file, text)?;
    let mut command = namespace.command("/usr/sbin/haproxy")?;
    command.arg("-db").arg("-f").arg(file);
    Process::start("haproxy", command, &folder.join("output.log")).context("haproxy is needed")
}

/// etcd of one member, which answers grpc.health.v1 at its client port.
pub fn etcd(namespace: &Namespace, folder: &Path, ip: IpAddr) -> Result<Process> {
    fs::create_dir_all(folder)?;
    let [clients, peers] = [ETCD_PORT, ETCD_PORT + 1].map(|port| format!("http://{ip}:{port}"));
    let mut command = namespace.command("/usr/bin/etcd")?;
    command.arg("--data-dir").arg(folder.join("data"));
    for (option, value) in [
        ("--listen-client-urls", &clients),
        ("--advertise-client-urls", &clients),
        ("--listen-peer-urls", &peers),
        ("--initial-advertise-peer-urls", &peers),
        ("--initial-cluster", &format!("default={peers}")),
    ] {
        command.arg(option).arg(value);
    }
    Process::start("etcd", command, &folder.join("output.log")).context("etcd is needed")
}

/// etcd's usual port for clients.
pub const ETCD_PORT: u16 = 2379;

/// dnsmasq that knows one name, `health.test`, and its address.
pub fn dnsmasq(
    namespace: &Namespace,
    folder: &Path,
    ip: IpAddr,
    answer: IpAddr,
) -> Result<Process> {
    fs::create_dir_all(folder)?;
    let mut command = namespace.command("/usr/sbin/dnsmasq")?;
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--bind-interfaces",
        "--user=root",
        "--pid-file=",
        &format!("--listen-address={ip}"),
        &format!("--host-record=health.test,{answer}"),
    ]);
    Process::start("dnsmasq", command, &folder.join("output.log")).context("dnsmasq is needed")
}
