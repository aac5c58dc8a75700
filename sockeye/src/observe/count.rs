//! Counters by `metrics`.

use metrics::{counter, gauge};
use sockeye_proto::connection::Role;

#[derive(Debug, Clone)]
pub(super) struct Count {
    role: &'static str,
}

impl Default for Count {
    fn default() -> Self {
        Self::new(Role::Server)
    }
}

impl Count {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role: match role {
                Role::Client => "client",
                Role::Server => "server",
            },
        }
    }

    pub(super) fn opened(&self) {
        counter!("sockeye_connections_opened_total", "role" => self.role).increment(1);
        gauge!("sockeye_connections", "role" => self.role).increment(1);
    }

    pub(super) fn closed(&self, code: u16, clean: bool) {
        let clean = if clean { "true" } else { "false" };
        let code = code_label(code);
        counter!("sockeye_connections_closed_total", "role" => self.role, "code" => code, "clean" => clean)
            .increment(1);
        gauge!("sockeye_connections", "role" => self.role).decrement(1);
    }

    pub(super) fn failed(&self, reason: &'static str) {
        counter!("sockeye_handshakes_failed_total", "role" => self.role, "reason" => reason).increment(1);
    }
}

pub(super) fn accept_failed() {
    counter!("sockeye_accept_errors_total").increment(1);
}

pub(super) fn handler_failed(how: &'static str) {
    counter!("sockeye_handlers_failed_total", "how" => how).increment(1);
}

/// The codes that RFC 6455 §7.4.1 and the registry of §11.7 define, and the ranges of §7.4.2 as one each: a peer chooses
/// the code, and must not choose how many counters there are.
fn code_label(code: u16) -> std::borrow::Cow<'static, str> {
    match code {
        1000..=1015 => code.to_string().into(),
        3000..=3999 => "3xxx".into(),
        4000..=4999 => "4xxx".into(),
        _ => "other".into(),
    }
}
