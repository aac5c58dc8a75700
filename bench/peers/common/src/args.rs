//! The command line that all servers have.

use std::path::PathBuf;

use crate::Mode;

pub(crate) struct Args {
    /// 0: one that the system chooses.
    pub(crate) port: u16,
    pub(crate) mode: Mode,
    /// Certificate chain and private key, PEM.
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
}

impl Args {
    /// Reads the program's arguments; an error is one sentence for the user.
    pub(crate) fn parse(name: &str, has_deflate: bool) -> Result<Self, String> {
        let usage = || format!("usage: {name} [--port N] [--deflate] [--tls CERT KEY] [--batched]");
        let mut parsed = Self {
            port: 0,
            mode: Mode {
                deflate: false,
                batched: false,
            },
            tls: None,
        };
        let mut args = std::env::args_os().skip(1);
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--port") => {
                    let port = args.next().and_then(|port| port.to_str()?.parse().ok());
                    parsed.port = port.ok_or_else(usage)?;
                }
                Some("--deflate") if !has_deflate => return Err(format!("{name} has no permessage-deflate.")),
                Some("--deflate") => parsed.mode.deflate = true,
                Some("--batched") => parsed.mode.batched = true,
                Some("--tls") => {
                    let (Some(certificate), Some(key)) = (args.next(), args.next()) else {
                        return Err(usage());
                    };
                    parsed.tls = Some((certificate.into(), key.into()));
                }
                _ => return Err(usage()),
            }
        }
        Ok(parsed)
    }
}
