//! The conformance table: Sockeye against other people's WebSocket implementations, in both roles.
//!
//! Clients (browsers, Node.js, Python) visit `sockeye echo`, directly and by nginx and HAProxy, and `interop-server` of the
//! conformance crate; its `interop-client` visits other servers. The peers' programs are in `conformance/interop`, each by a pinned version, and
//! print a line a cell. `peers.rs` says who is asked what, `lab.rs` starts everything, `table.rs` judges and writes
//! `docs/interop.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::context::Context;
use crate::page::NODE_HINT;
use crate::process::{self, Background};
use crate::tally::Tally;
use crate::tools;

pub(crate) mod lab;
mod peers;
mod table;

use lab::{Lab, Proxy};
use peers::{FROM_SOCKEYE, Peer, TO_A_PROGRAM, TO_SOCKEYE, Way};
use table::{Report, Row, Table};

/// The parts of `install.sh`, and how to get what they need.
pub(crate) const PARTS: [(&str, &str); 3] = [("system", PROGRAMS_HINT), ("node", NODE_HINT), ("python", PYTHON_HINT)];

/// How to get what the peers of Python need.
const PYTHON_HINT: &str = "to get it: install Python 3.11 or newer with venv, or set PYTHON3 to one";

/// How to get the peers that are programs of their own.
const PROGRAMS_HINT: &str =
    "to get it: cargo xtask setup, or on Debian apt-get install nginx haproxy websocketd firefox-esr openssl";

/// What one peer may take for all of its ways; it takes seconds.
const DEADLINE: Duration = Duration::from_secs(5 * 60);

/// The options of `cargo xtask interop`.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct Options {
    /// Only peers of this name, such as ws or Firefox; the page is not written then
    #[arg(long, value_name = "NAME")]
    peer: Vec<String>,
}

impl Options {
    fn chosen(&self, peer: &Peer) -> bool {
        self.peer.is_empty() || self.peer.iter().any(|name| name.eq_ignore_ascii_case(peer.name))
    }
}

/// Runs all peers, prints what they found, and writes the page if none was missing.
pub(crate) fn run(context: &Context, options: &Options) -> Result<Tally> {
    let started = Instant::now();
    let sockeye = tools::build(context, "sockeye-cli", "sockeye")?;
    let client = tools::build(context, "conformance", "interop-client")?;
    let server = tools::build(context, "conformance", "interop-server")?;
    if tools::find(&["openssl"]).is_none() {
        return Ok(context.missing("openssl, which makes the certificates,", PROGRAMS_HINT));
    }
    let lab = Lab::new(context)?;
    let mut run = Run {
        context,
        options,
        lab: &lab,
        table: Table::default(),
        versions: BTreeMap::new(),
        sum: Tally::default(),
        complete: options.peer.is_empty(),
    };
    run.clients(&sockeye, &server)?;
    run.servers(&client)?;
    let Run {
        table, sum, complete, ..
    } = run;
    if table.clients.is_empty() && table.servers.is_empty() && sum.is_clean() && sum.skipped.is_empty() {
        bail!("there is no peer of the name {}", options.peer.join(" or "));
    }
    if complete {
        let page = context.root.join("docs/interop.md");
        fs::write(&page, table.page()).with_context(|| format!("cannot write {}", page.display()))?;
        println!("wrote docs/interop.md after {:.0} s", started.elapsed().as_secs_f64());
    } else {
        println!("docs/interop.md is left as it was, since not all peers were asked");
    }
    Ok(sum)
}

/// A run under way.
struct Run<'a> {
    context: &'a Context,
    options: &'a Options,
    lab: &'a Lab,
    table: Table,
    /// What each peer said its version is, for where it does not say it again.
    versions: BTreeMap<&'static str, String>,
    sum: Tally,
    complete: bool,
}

impl Run<'_> {
    fn missing(&mut self, what: &str, how: &str) {
        self.complete = false;
        self.sum += self.context.missing(what, how);
    }

    /// All clients, by all ways.
    fn clients(&mut self, sockeye: &Path, server: &Path) -> Result<()> {
        let lab = self.lab;
        let (_plain, plain) = lab.echo(sockeye, "echo", &[])?;
        let (_deflate, deflate) = lab.echo(sockeye, "echo-deflate", &["--compress"])?;
        let (_tls, tls) = lab.echo(
            sockeye,
            "echo-tls",
            &["--compress", "--cert", "cert.pem", "--key", "key.pem"],
        )?;
        let mut routes: Vec<(&'static Way, String)> = TO_SOCKEYE.iter().zip([plain, deflate.clone(), tls]).collect();
        let nginx = self.proxy("nginx", "-v", lab.nginx.as_deref(), |program| {
            lab.nginx(program, &deflate)
        })?;
        let haproxy = self.proxy("HAProxy", "-v", lab.haproxy.as_deref(), |program| {
            lab.haproxy(program, &deflate)
        })?;
        for (proxy, first) in [(&nginx, 3), (&haproxy, 5)] {
            if let Some(proxy) = proxy {
                routes.push((&TO_SOCKEYE[first], proxy.plain()));
                routes.push((&TO_SOCKEYE[first + 1], proxy.secure()));
            }
        }
        let (_begins, begins) = lab.serve("interop-server", Command::new(server))?;
        routes.push((&TO_SOCKEYE[7], begins));

        if lab.node.is_some() {
            let node = Path::new("node");
            self.client(&peers::WS_CLIENT, lab.script(node, "client_ws.mjs"), &routes)?;
            self.client(&peers::UNDICI, lab.script(node, "client_undici.mjs"), &routes)?;
            let mut builtin = lab.script(node, "client_undici.mjs");
            builtin.arg("--builtin").env("NODE_OPTIONS", builtin_websocket()?);
            self.client(&peers::NODE, builtin, &routes)?;
            for (peer, program, hint) in [
                (&peers::CHROMIUM, &lab.chromium, tools::CHROMIUM_HINT),
                (&peers::FIREFOX, &lab.firefox, PROGRAMS_HINT),
            ] {
                let Some(program) = program else {
                    self.missing(peer.name, hint);
                    continue;
                };
                let mut browser = lab.script(node, "client_browser.mjs");
                browser.arg(peer.name.to_ascii_lowercase()).arg(program);
                self.client(peer, browser, &routes)?;
            }
        } else {
            self.missing("Node.js with npm", NODE_HINT);
        }
        if let Some(python) = &lab.python {
            for (peer, script) in [
                (&peers::WEBSOCKETS_CLIENT, "client_websockets.py"),
                (&peers::AIOHTTP_CLIENT, "client_aiohttp.py"),
            ] {
                let mut command = lab.script(python, script);
                command.arg(lab.authority());
                self.client(peer, command, &routes)?;
            }
        } else {
            self.missing("Python 3", PYTHON_HINT);
        }
        Ok(())
    }

    fn proxy(
        &mut self,
        name: &str,
        flag: &str,
        program: Option<&Path>,
        start: impl FnOnce(&Path) -> Result<Proxy>,
    ) -> Result<Option<Proxy>> {
        let Some(program) = program else {
            self.missing(name, PROGRAMS_HINT);
            return Ok(None);
        };
        self.table
            .proxies
            .push(format!("{name} {}", lab::version(program, flag)?));
        start(program).map(Some)
    }

    /// One client, which takes all routes as arguments.
    fn client(&mut self, peer: &'static Peer, mut command: Command, routes: &[(&'static Way, String)]) -> Result<()> {
        if !self.options.chosen(peer) {
            return Ok(());
        }
        command.args(routes.iter().map(|(way, url)| format!("{}={url}", way.id)));
        let finished = process::read(command, false, DEADLINE)?;
        fs::write(
            self.lab.log(&format!("client-{}", peer.name)),
            finished.lines.join("\n"),
        )?;
        let report = Report::read(&finished.lines, "");
        let version = report.version.clone().unwrap_or_else(|| "unknown".into());
        self.versions.insert(peer.name, version.clone());
        let ways: Vec<_> = routes.iter().map(|(way, _)| *way).collect();
        let row = Row::judge(peer, &ways, &report, version);
        self.sum += row.tally("client");
        self.table.clients.push(row);
        Ok(())
    }

    /// All servers.
    fn servers(&mut self, client: &Path) -> Result<()> {
        let lab = self.lab;
        // What is missing has been said for the clients.
        if lab.node.is_some() {
            self.server(client, &peers::WS_SERVER, Path::new("node"), "server_ws.mjs")?;
        }
        if let Some(python) = &lab.python {
            self.server(client, &peers::WEBSOCKETS_SERVER, python, "server_websockets.py")?;
            self.server(client, &peers::AIOHTTP_SERVER, python, "server_aiohttp.py")?;
        }
        match &lab.websocketd {
            Some(program) if self.options.chosen(&peers::WEBSOCKETD) => self.websocketd(client, program),
            Some(_) => Ok(()),
            None => {
                self.missing("websocketd", PROGRAMS_HINT);
                Ok(())
            }
        }
    }

    /// One server that is a script, without TLS and with it.
    fn server(&mut self, client: &Path, peer: &'static Peer, interpreter: &Path, script: &str) -> Result<()> {
        if !self.options.chosen(peer) {
            return Ok(());
        }
        let lab = self.lab;
        let (_plain, plain) = lab.serve(script, lab.script(interpreter, script))?;
        let mut secure = lab.script(interpreter, script);
        secure.arg(&lab.run);
        let (_secure, secure) = lab.serve(&format!("{script}-tls"), secure)?;
        let mut report = visit(client, &FROM_SOCKEYE[0], &plain, &[])?;
        report.add(visit(client, &FROM_SOCKEYE[1], &plain, &["--compress"])?);
        let authority = lab.authority();
        let authority = authority.to_str().context("the build directory's name is no UTF-8")?;
        let options = ["--compress", "--authority", authority];
        report.add(visit(client, &FROM_SOCKEYE[2], &secure, &options)?);
        let version = match self.versions.get(peer.name) {
            Some(version) => version.clone(),
            None => "unknown".into(),
        };
        self.finish(peer, &FROM_SOCKEYE.iter().collect::<Vec<_>>(), &report, version);
        Ok(())
    }

    /// websocketd, once for lines and once for bytes.
    fn websocketd(&mut self, client: &Path, program: &Path) -> Result<()> {
        let mut report = Report::default();
        for (way, of_server, of_client) in [
            (&TO_A_PROGRAM[0], &[][..], "--lines"),
            (&TO_A_PROGRAM[1], &["--binary"][..], "--stream"),
        ] {
            let (_server, url): (Background, _) = self.lab.websocketd(program, of_server)?;
            report.add(visit(client, way, &url, &["--compress", of_client])?);
        }
        let version = lab::version(program, "--version")?;
        self.finish(
            &peers::WEBSOCKETD,
            &TO_A_PROGRAM.iter().collect::<Vec<_>>(),
            &report,
            version,
        );
        Ok(())
    }

    fn finish(&mut self, peer: &'static Peer, ways: &[&'static Way], report: &Report, version: String) {
        let row = Row::judge(peer, ways, report, version);
        self.sum += row.tally("server");
        self.table.servers.push(row);
    }
}

/// Sockeye's client on one way.
fn visit(client: &Path, way: &Way, url: &str, options: &[&str]) -> Result<Report> {
    let mut command = Command::new(client);
    command.args(options).arg(url);
    let finished = process::read(command, false, DEADLINE)?;
    Ok(Report::read(&finished.lines, way.id))
}

/// The option by which a Node.js that has its WebSocket as an experiment shows it.
fn builtin_websocket() -> Result<&'static str> {
    let mut command = Command::new("node");
    command.args(["-p", "typeof WebSocket"]);
    let there = process::stdout_of(command)?.trim() == "function";
    Ok(if there { "" } else { "--experimental-websocket" })
}
