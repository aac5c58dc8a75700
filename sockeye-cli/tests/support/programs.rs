//! Proxies that want credentials.

use std::path::PathBuf;

#[path = "../../../sockeye/tests/support/programs.rs"]
pub(crate) mod started;

use self::started::Program;

/// tinyproxy, which wants these credentials.
pub(crate) fn tinyproxy(user: &str, password: &str) -> Option<Program> {
    Program::start("tinyproxy", |port| {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tinyproxy-{port}.conf"));
        let configuration = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nAllow 127.0.0.1\nLogFile \"{}\"\n\
             BasicAuth {user} {password}\n",
            path.with_extension("log").display()
        );
        std::fs::write(&path, configuration).unwrap();
        vec!["-d".into(), "-c".into(), path.display().to_string()]
    })
}

/// microsocks, which wants these credentials.
pub(crate) fn microsocks(user: &str, password: &str) -> Option<Program> {
    Program::start("microsocks", |port| {
        let port = port.to_string();
        let arguments = ["-i", "127.0.0.1", "-p", &port, "-u", user, "-P", password];
        arguments.map(str::to_owned).into()
    })
}
