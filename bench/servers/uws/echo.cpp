// The reference: an echo server on uWebSockets (epoll, no TLS), with the command line that every server here has. With
// `--broadcast` it is a room: all connections subscribe to one topic, and what one says is published to the others.
//
// A message is answered as the library's own example does, by `send` in the message handler; the library corks
// around the handler, so the answers to what arrived together leave in one write.

#include <arpa/inet.h>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <netinet/in.h>
#include <sys/socket.h>

#include "App.h"

namespace {

struct Nothing {};

int port = 0;
bool compressed = false;
bool broadcast = false;

bool parse(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (!std::strcmp(argv[i], "--port") && i + 1 < argc) {
            port = std::atoi(argv[++i]);
        } else if (!std::strcmp(argv[i], "--deflate")) {
            compressed = true;
        } else if (!std::strcmp(argv[i], "--broadcast")) {
            broadcast = true;
        } else {
            std::fprintf(stderr, "this server has no %s\n", argv[i]);
            return false;
        }
    }
    return true;
}

void announce(us_listen_socket_t *listener) {
    if (!listener) {
        std::fprintf(stderr, "cannot listen on port %d\n", port);
        std::exit(1);
    }
    std::printf("listening 127.0.0.1:%d\n", us_socket_local_port(0, reinterpret_cast<us_socket_t *>(listener)));
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char **argv) {
    if (!parse(argc, argv)) {
        return 2;
    }
    auto compression = compressed ? uWS::CompressOptions(uWS::SHARED_COMPRESSOR | uWS::SHARED_DECOMPRESSOR)
                               : uWS::CompressOptions(uWS::DISABLED);
    uWS::App()
        .ws<Nothing>("/*", {
            .compression = compression,
            .maxPayloadLength = 32 * 1024 * 1024,
            .idleTimeout = 0,
            // 0 is no limit.
            .maxBackpressure = 0,
            .closeOnBackpressureLimit = false,
            .resetIdleTimeoutOnSend = false,
            .sendPingsAutomatically = false,
            .open = [](auto *ws) {
                if (broadcast) {
                    ws->subscribe("room");
                }
            },
            .message = [](auto *ws, std::string_view message, uWS::OpCode opcode) {
                if (broadcast) {
                    ws->publish("room", message, opcode, compressed);
                } else {
                    ws->send(message, opcode, compressed);
                }
            },
        })
        .listen("127.0.0.1", port, announce)
        .run();
    return 1;
}
