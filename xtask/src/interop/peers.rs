//! Who Sockeye is held against, by which ways, and what each of them is known not to have.
//!
//! A cell that is missing here from `lacks` must pass. So that nothing is lost unseen, a peer says what it passed, and this
//! file what it need not.

/// The columns of the table.
pub(super) const CELLS: [&str; 8] = [
    "text",
    "binary",
    "1 MiB",
    "fragments",
    "ping",
    "close",
    "subprotocol",
    COMPRESSION,
];

/// Decided by the way as well as by the peer.
pub(super) const COMPRESSION: &str = "compression";

/// A WebSocket implementation in one role.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) name: &'static str,
    /// Cells that its interface cannot express, and why. A way on which Sockeye begins them asks for them all the same.
    pub(super) lacks: &'static [Lack],
    /// Cells that fail by a fault of its own.
    pub(super) faults: &'static [Fault],
}

/// Cells, and why they are not asked.
type Lack = (&'static [&'static str], &'static str);

/// What a peer is known to do wrong.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) cell: &'static str,
    /// Part of what is seen then: seeing something else is news.
    pub(super) seen: &'static str,
    pub(super) what: &'static str,
}

/// How a connection is made.
#[derive(Debug)]
pub(super) struct Way {
    /// As the peers' programs are told, and hear no more of.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// Whether both sides are willing to compress.
    pub(super) compressed: bool,
    /// Whether Sockeye sends the pings, fragments and Closes that are asked about.
    pub(super) begins: bool,
    /// The cells that are asked on it.
    pub(super) cells: &'static [&'static str],
}

/// What browsers' interface leaves out.
const NO_FRAMES: Lack = (
    &["fragments", "ping"],
    "the browser's interface can send neither a fragment nor a ping; it takes those of Sockeye",
);

pub(super) const CHROMIUM: Peer = browser("Chromium");
pub(super) const FIREFOX: Peer = browser("Firefox");
pub(super) const WS_CLIENT: Peer = peer("ws");
pub(super) const UNDICI: Peer = browser("undici");
pub(super) const NODE: Peer = browser("Node.js");
pub(super) const WEBSOCKETS_CLIENT: Peer = peer("websockets");
pub(super) const AIOHTTP_CLIENT: Peer = Peer {
    lacks: &[(
        &["fragments"],
        "its interface can send no fragment; it takes those of Sockeye",
    )],
    ..peer("aiohttp")
};

pub(super) const WS_SERVER: Peer = peer("ws");
pub(super) const WEBSOCKETS_SERVER: Peer = peer("websockets");
pub(super) const AIOHTTP_SERVER: Peer = Peer {
    faults: &[Fault {
        cell: "close",
        seen: "it answered 1000, and closed with 4001 bye",
        what: "it answers a Close with code 4001 by one with code 1000",
    }],
    ..peer("aiohttp")
};
pub(super) const WEBSOCKETD: Peer = Peer {
    lacks: &[(
        &["subprotocol", COMPRESSION],
        "it has neither subprotocols nor compression",
    )],
    ..peer("websocketd")
};

/// One that can do everything, and does it right.
const fn peer(name: &'static str) -> Peer {
    Peer {
        name,
        lacks: &[],
        faults: &[],
    }
}

/// One with the browser's interface.
const fn browser(name: &'static str) -> Peer {
    Peer {
        lacks: &[NO_FRAMES],
        ..peer(name)
    }
}

/// The ways to `sockeye echo`, and to `interop-server`.
pub(super) const TO_SOCKEYE: [Way; 8] = [
    way("plain", "ws:, no compression", false),
    way("deflate", "ws:", true),
    way("tls", "wss:", true),
    way("nginx", "ws: by nginx", true),
    way("nginx-tls", "wss: by nginx", true),
    way("haproxy", "ws: by HAProxy", true),
    way("haproxy-tls", "wss: by HAProxy", true),
    Way {
        begins: true,
        cells: &["fragments", "ping", "close"],
        ..way("begins", "ws:, Sockeye begins", true)
    },
];

/// The ways to other people's servers.
pub(super) const FROM_SOCKEYE: [Way; 3] = [
    way("plain", "ws:, no compression", false),
    way("deflate", "ws:", true),
    way("tls", "wss:", true),
];

/// The ways to websocketd, which joins a socket to the standard streams of a program: messages are lines of text, or
/// pieces of a stream of bytes.
pub(super) const TO_A_PROGRAM: [Way; 2] = [
    Way {
        cells: &[
            "text",
            "1 MiB",
            "fragments",
            "ping",
            "close",
            "subprotocol",
            COMPRESSION,
        ],
        ..way("lines", "ws:, lines", true)
    },
    Way {
        cells: &["binary"],
        ..way("stream", "ws:, bytes", true)
    },
];

const fn way(id: &'static str, title: &'static str, compressed: bool) -> Way {
    Way {
        id,
        title,
        compressed,
        begins: false,
        cells: &CELLS,
    }
}
